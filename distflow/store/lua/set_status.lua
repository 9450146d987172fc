-- Move a run to another status: pause, cancel, interrupt, end, go on.
-- KEYS    meta events
-- ARGV    epoch (empty: a person, not the coordinator), new status, reason (may be empty),
--         ended (1 or 0), clock (1: its timeout starts anew), grace (ms until what runs is stopped,
--         or empty), then the statuses it may come from
-- Returns {code, status}; OK, WRONG_STATE with the status it has, STALE_EPOCH, TOO_NEW or GONE
-- Events  moved
local meta, events = KEYS[1], KEYS[2]
local epoch, new, reason, ended, clock = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local grace = tonumber(ARGV[6])
if not run_exists() then return {CODE.GONE, ''} end
-- There it may mean something else.
if is_too_new() then return {CODE.TOO_NEW, ''} end
write_though_full()
local run = redis.call('HMGET', meta, 'epoch', 'status', 'stop_at')
if epoch ~= '' and run[1] ~= epoch then return {CODE.STALE_EPOCH, run[2]} end
-- The reply to this very move was lost, or another made it: then the shorter grace counts.
if run[2] == new then
  local stop_at = grace and math.min(now_ms() + grace, tonumber(run[3] or '') or math.huge)
  if stop_at then redis.call('HSET', meta, 'stop_at', text(stop_at)) end
  return {CODE.OK, new}
end
for i = 7, #ARGV do
  if ARGV[i] == run[2] then
    redis.call('HSET', meta, 'status', new)
    if reason ~= '' then redis.call('HSET', meta, 'reason', reason) end
    if ended == '1' then
      -- Its last coordinator need not have published that nothing is queued any more.
      redis.call('HSET', meta, 'ended_at', text(now_ms()), 'n_queued', '0', 'n_waiting', '0')
    else
      redis.call('HDEL', meta, 'ended_at')
    end
    if grace then redis.call('HSET', meta, 'stop_at', text(now_ms() + grace)) end
    if clock == '1' then redis.call('HSET', meta, 'clock_at', text(now_ms())) end
    tell('moved', '', new)
    publish(events)
    return {CODE.OK, new}
  end
end
return {CODE.WRONG_STATE, run[2]}
