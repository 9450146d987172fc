-- Save what an attempt leaves for later attempts and for the verify hook.
-- KEYS    meta results claims progress saved
-- ARGV    task token packed
-- Returns OK, REFUSED or GONE
-- Events  none
local results, claims, progress, saved = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local task, token, packed = ARGV[1], ARGV[2], ARGV[3]
local refused = refusal()
if refused then return refused end
local claim = read_claim(claims, task)
if not claim or claim[3] ~= token then
  local known = redis.call('HGET', results, task)
  local unknown = known and status_of(known) == 'unknown'
  -- The task was given to another worker, or has ended: the next attempt's note must not be
  -- overwritten. An attempt that was given up as unknown is still the last one, and its note says
  -- what it did.
  if not (unknown and read_progress(progress, task).token == token) then return CODE.REFUSED end
end
redis.call('HSET', saved, task, packed)
return CODE.OK
