-- Mark that a claimed task may have effects from here on.
-- KEYS    meta claims events
-- ARGV    task token
-- Returns GRANTED, REFUSED, STOPPED or GONE
-- Events  started
local claims, events = KEYS[2], KEYS[3]
local task, token = ARGV[1], ARGV[2]
local refused, run = refusal(nil, false, 'status', 'clock_offset_ms')
if refused then return refused end
local claim = read_claim(claims, task)
-- The claim was given to another worker while this one was away: it must not start.
if not claim or claim[3] ~= token then return CODE.REFUSED end
-- The reply to this call was lost. The mark is written again: by now its caller may wait for the
-- disk on another connection, and WAITAOF covers only the writes of its own connection.
if claim[6] ~= 0 then
  redis.call('HSET', claims, task, pack_claim(claim))
  return CODE.GRANTED
end
-- A cancelled run starts nothing more, not even claimed tasks.
if POLICY.UNSTARTED_IN[run[3]] then return CODE.STOPPED end
claim[6] = now_ms(run[4] or '0')
redis.call('HSET', claims, task, pack_claim(claim))
tell('started', task, '', claim[1], claim[4])
publish(events)
return CODE.GRANTED
