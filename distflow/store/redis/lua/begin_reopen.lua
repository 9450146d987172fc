-- A person resumes a run: nothing may be claimed until the outcomes to evaluate again are set
-- aside.
-- KEYS    meta refusals
-- ARGV    epoch, operation
-- Returns OK, STALE_EPOCH, WRONG_STATE (still being created) or GONE
-- Events  none
local meta, refusals = KEYS[1], KEYS[2]
local epoch, operation = ARGV[1], ARGV[2]
local refused = refusal(epoch)
if refused then return refused end
local run = redis.call('HMGET', meta, 'status', 'reopen_operation')
if run[1] == 'creating' then return CODE.WRONG_STATE end
-- The reply was lost. A delivery that arrives after its reopening has ended must not stop the run.
if run[2] == operation then return CODE.OK end
-- If an earlier reopening was cut off, this one completes it, in the same generation.
if run[1] ~= 'reopening' then redis.call('HINCRBY', meta, 'generation', 1) end
redis.call('HSET', meta, 'status', 'reopening', 'reopen_operation', operation)
redis.call('HDEL', meta, 'reason', 'stop_at')
count_rest('reopening')
-- Workers may have been fixed since: each is tried anew.
redis.call('DEL', refusals)
return CODE.OK
