-- The heartbeat of a batch.
-- KEYS    meta beats
-- ARGV    batch worker job task (empty between two tasks), overdue (1: past its timeout, or 0)
-- Returns {code, run status}; OK, REFUSED where the batch was given up, GONE
-- Events  none
local beats = KEYS[2]
local batch, worker, job, task, overdue = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local refused, run = refusal(nil, false, 'status', 'clock_offset_ms')
if refused then return {refused, ''} end
write_though_full()
-- The coordinator removed its entry: the batch must not come back to life.
if redis.call('HEXISTS', beats, batch) == 0 then return {CODE.REFUSED, ''} end
redis.call('HSET', beats, batch, cmsgpack.pack({worker, job, now_ms(run[4] or '0'), task, overdue == '1'}))
return {CODE.OK, run[3]}
