-- Renew the leases of runs, and publish how many tasks of each are queued and waiting.
-- KEYS    meta and lease of the first run, of the second, …
-- ARGV    owner, time to live in ms; then per run epoch, queued, waiting
-- Returns a list with OK, STALE_EPOCH or GONE per run
-- Events  none
local keys, owner, ttl_ms = KEYS, ARGV[1], ARGV[2]

local function renew(meta, lease, epoch, queued, waiting)
  local known = redis.call('HGET', meta, 'epoch')
  if not known then return CODE.GONE end
  -- Another coordinator took over. A lease that merely lapsed is renewed: while the epoch is ours,
  -- nobody else has led.
  if known ~= epoch then return CODE.STALE_EPOCH end
  redis.call('SET', lease, epoch .. ' ' .. owner, 'PX', ttl_ms)
  redis.call('HSET', meta, 'n_queued', queued, 'n_waiting', waiting, 'lease_ms', ttl_ms)
  return CODE.OK
end

write_though_full()
local codes = {}
for i = 1, #keys / 2 do
  local meta, lease = keys[2 * i - 1], keys[2 * i]
  local epoch, queued, waiting = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  codes[i] = renew(meta, lease, epoch, queued, waiting)
end
return codes
