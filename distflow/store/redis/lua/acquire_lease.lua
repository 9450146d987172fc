-- Become the coordinator of a run. Epochs grow and never repeat, even if a restored Redis has
-- forgotten some: an epoch is at least the time in milliseconds.
-- KEYS    meta lease history
-- ARGV    owner, time to live in ms, force (1 or 0)
-- Returns {OK, epoch}, {HELD, owner}, {TOO_NEW} or {GONE}
-- Events  none; a take-over is written to the history
local meta, lease, history = KEYS[1], KEYS[2], KEYS[3]
local owner, ttl_ms, force = ARGV[1], ARGV[2], ARGV[3]
-- A new epoch would void the jobs of coordinators that can read the run.
local refused = refusal(nil, true)
if refused then return {refused} end
write_though_full()
local holder = redis.call('GET', lease)
if holder then shorten_lease(meta, lease) end
local stored = redis.call('HGET', meta, 'epoch')
-- The caller holds the lease already: the reply to this call was lost.
if holder == stored .. ' ' .. owner then
  redis.call('SET', lease, holder, 'PX', ttl_ms)
  return {CODE.OK, stored}
end
if holder and force ~= '1' then return {CODE.HELD, string.match(holder, ' (.*)')} end
local now = now_ms()
local epoch = text(math.max(tonumber(stored) + 1, now))
redis.call('SET', lease, epoch .. ' ' .. owner, 'PX', ttl_ms)
redis.call('HSET', meta, 'epoch', epoch, 'lease_ms', ttl_ms)
if stored ~= '0' then
  remember(history, {kind = 'taken_over', by = owner, note = 'epoch ' .. epoch})
else
  redis.call('HSET', meta, 'started_at', text(now), 'clock_at', text(now), 'rested', '0')
  if redis.call('HEXISTS', meta, 'rest_at') == 1 then
    redis.call('HSET', meta, 'rest_at', text(now))
  end
end
return {CODE.OK, epoch}
