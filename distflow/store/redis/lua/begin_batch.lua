-- A worker has popped a batch from its queue, and begins it before importing any user code.
-- KEYS    meta beats
-- ARGV    epoch batch worker job
-- Returns {code, params, origin, context, max_result_bytes, durability}; OK, STALE_EPOCH, STOPPED or
--         GONE
-- Events  none: the coordinator reads beats
local beats = KEYS[2]
local epoch, batch, worker, job = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- A batch that a replaced coordinator left on a queue is refused once it is popped.
local refused, run = refusal(epoch, false, 'status', 'params', 'origin', 'context',
  'max_result_bytes', 'durability', 'clock_offset_ms')
if refused then return {refused} end
if not POLICY.CLAIMED_IN[run[3]] then return {CODE.STOPPED} end
-- A queue that holds an entry twice gives it to two workers: the second one leaves the batch, and
-- its beat, to the first.
local held = redis.call('HGET', beats, batch)
if held and cmsgpack.unpack(held)[1] ~= worker then return {CODE.STOPPED} end
redis.call('HSET', beats, batch, cmsgpack.pack({worker, job, now_ms(run[9] or '0'), ''}))
return {CODE.OK, run[4], run[5], run[6] or '', tonumber(run[7] or '0'), run[8] or ''}
