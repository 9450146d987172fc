-- A worker has popped a batch from its queue, and begins it before importing any user code.
-- KEYS    meta beats
-- ARGV    epoch batch worker job
-- Returns {code, params, origin, context, max_result_bytes, durability}; OK, STALE_EPOCH, STOPPED or
--         GONE
-- Events  none: the coordinator reads beats
local meta, beats = KEYS[1], KEYS[2]
local epoch, batch, worker, job = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- A batch that a replaced coordinator left on a queue is refused once it is popped.
local refused = refusal(epoch)
if refused then return {refused} end
local run = redis.call('HMGET', meta, 'status', 'params', 'origin', 'context',
  'max_result_bytes', 'durability')
if not POLICY.CLAIMED_IN[run[1]] then return {CODE.STOPPED} end
-- A queue that holds an entry twice gives it to two workers: the second one leaves the batch, and
-- its beat, to the first.
local held = redis.call('HGET', beats, batch)
if held and cmsgpack.unpack(held)[1] ~= worker then return {CODE.STOPPED} end
redis.call('HSET', beats, batch, cmsgpack.pack({worker, job, now_ms(), ''}))
return {CODE.OK, run[2], run[3], run[4] or '', tonumber(run[5] or '0'), run[6] or ''}
