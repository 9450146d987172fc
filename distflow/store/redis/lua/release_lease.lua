-- Release the lease of a run, if it is still held.
-- KEYS    meta lease
-- ARGV    owner, epoch
-- Returns OK, or STALE_EPOCH where another has led the run since, or it is gone
-- Events  none
local meta, lease = KEYS[1], KEYS[2]
local owner, epoch = ARGV[1], ARGV[2]
if redis.call('GET', lease) == epoch .. ' ' .. owner then
  redis.call('DEL', lease)
  redis.call('HSET', meta, 'n_queued', '0')
end
return redis.call('HGET', meta, 'epoch') == epoch and CODE.OK or CODE.STALE_EPOCH
