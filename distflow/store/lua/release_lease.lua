-- Give up the lease of a run, if it is still held.
-- KEYS    meta lease
-- ARGV    owner, epoch
-- Returns OK
-- Events  none
local meta, lease = KEYS[1], KEYS[2]
local owner, epoch = ARGV[1], ARGV[2]
if redis.call('GET', lease) == epoch .. ' ' .. owner then
  redis.call('DEL', lease)
  redis.call('HSET', meta, 'n_queued', '0')
end
return CODE.OK
