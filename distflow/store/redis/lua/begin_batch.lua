-- A worker says that it has taken a batch off its queue, before it imports any user code.
-- KEYS    meta beats
-- ARGV    epoch batch worker job
-- Returns {code, params, origin, context, max_result_bytes, whether to wait for the disk (1, 0)};
--         OK, STALE_EPOCH, STOPPED or GONE
-- Events  none: the coordinator reads beats
local meta, beats = KEYS[1], KEYS[2]
local epoch, batch, worker, job = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not run_exists() then return {CODE.GONE} end
local run = redis.call('HMGET', meta, 'epoch', 'status', 'params', 'origin', 'context',
  'max_result_bytes', 'durability')
-- What a replaced coordinator left on a queue is refused when it is popped.
if run[1] ~= epoch then return {CODE.STALE_EPOCH} end
if run[2] ~= 'running' then return {CODE.STOPPED} end
-- A queue that holds an entry twice gives it to two workers: the second leaves it, and its beat,
-- to the first.
local held = redis.call('HGET', beats, batch)
if held and cmsgpack.unpack(held)[1] ~= worker then return {CODE.STOPPED} end
redis.call('HSET', beats, batch, cmsgpack.pack({worker, job, now_ms(), ''}))
local waits = run[7] == 'waitaof' and 1 or 0
return {CODE.OK, run[3], run[4], run[5] or '', tonumber(run[6] or '0'), waits}
