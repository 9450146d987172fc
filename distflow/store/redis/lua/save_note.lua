-- Keep what an attempt wants its next attempts, and its verify hook, to know.
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
  -- Given to another, or told already: what the next attempt saved must not be written over. An
  -- attempt that was given up as unknown is still the last one, and its note tells what it did.
  if not (unknown and read_progress(progress, task).token == token) then return CODE.REFUSED end
end
redis.call('HSET', saved, task, packed)
return CODE.OK
