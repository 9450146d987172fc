-- Keep the lease of a run, and say how many tasks are queued and waiting.
-- KEYS    meta lease
-- ARGV    owner, epoch, time to live in ms, queued, waiting
-- Returns OK, STALE_EPOCH or GONE
-- Events  none
local meta, lease = KEYS[1], KEYS[2]
local owner, epoch, ttl_ms, queued, waiting = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not run_exists() then return CODE.GONE end
-- Another coordinator took over. A lease that merely lapsed is taken up again: while the epoch
-- is ours, nobody else led.
if redis.call('HGET', meta, 'epoch') ~= epoch then return CODE.STALE_EPOCH end
redis.call('SET', lease, epoch .. ' ' .. owner, 'PX', ttl_ms)
redis.call('HSET', meta, 'n_queued', queued, 'n_waiting', waiting)
return CODE.OK
