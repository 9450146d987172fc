-- Mark that a claimed task may have had effects from here on.
-- KEYS    meta claims events
-- ARGV    task token
-- Returns GRANTED, REFUSED, STOPPED or GONE
-- Events  started
local claims, events = KEYS[2], KEYS[3]
local task, token = ARGV[1], ARGV[2]
local refused = refusal()
if refused then return refused end
local claim = read_claim(claims, task)
-- The claim was given to another while this worker was away: it must not start.
if not claim or claim[3] ~= token then return CODE.REFUSED end
-- The reply to this very start was lost. It is written again: who waits until it is on disk does
-- so on another connection by now, and Redis tells each of what came over itself alone.
if claim[6] ~= 0 then
  redis.call('HSET', claims, task, pack_claim(claim))
  return CODE.GRANTED
end
-- A cancelled run starts nothing more, not even what is claimed.
if POLICY.UNSTARTED_IN[redis.call('HGET', META, 'status')] then return CODE.STOPPED end
claim[6] = now_ms()
redis.call('HSET', claims, task, pack_claim(claim))
tell('started', task, '', claim[1], claim[4])
publish(events)
return CODE.GRANTED
