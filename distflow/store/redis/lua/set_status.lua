-- Move a run to another status: pause, cancel, interrupt, end, go on.
-- KEYS    meta events
-- ARGV    epoch (empty: a person, not the coordinator), new status, reason (may be empty),
--         ended (1 or 0), clock (1: its timeout starts anew), grace (ms until what runs is stopped,
--         or empty), the time at which the caller saw that it is stopped (ms; empty: none), then the
--         statuses it may come from
-- Returns {code, status, and of LOOK_AGAIN when what runs is stopped, the grace behind that, and the
--         time now, in ms}; OK, WRONG_STATE with the status it has, LOOK_AGAIN where it has that
--         status and what runs is stopped at another time than the caller saw, STALE_EPOCH, TOO_NEW
--         or GONE
-- Events  moved
local meta, events = KEYS[1], KEYS[2]
local epoch, new, reason, ended, clock = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local grace, seen = tonumber(ARGV[6]), ARGV[7]

-- When running tasks are killed: as a time and, since Redis's clock may be set back before that,
-- with the grace period that was asked for.
local function stop_in(ms)
  local stop_at = text(now_ms() + ms)
  redis.call('HSET', meta, 'stop_at', stop_at, 'grace', stop_at .. ' ' .. text(ms))
end

-- In a run of a newer version, a status may mean something else.
local refused = refusal(epoch ~= '' and epoch, true)
if refused then return {refused, ''} end
write_though_full()
local status = redis.call('HGET', meta, 'status')
-- The reply to this move was lost, or another caller made it: its grace period may be the one that
-- counts.
if status == new then
  if grace then
    local known = redis.call('HMGET', meta, 'stop_at', 'grace')
    if (known[1] or '') ~= seen then
      return {CODE.LOOK_AGAIN, status, known[1] or '', known[2] or '', text(now_ms())}
    end
    stop_in(grace)
  end
  return {CODE.OK, new}
end
for i = 8, #ARGV do
  if ARGV[i] == status then
    redis.call('HSET', meta, 'status', new)
    count_rest(new)
    if reason ~= '' then redis.call('HSET', meta, 'reason', reason) end
    if ended == '1' then
      -- Its last coordinator may not have published that nothing is queued any more.
      redis.call('HSET', meta, 'ended_at', text(now_ms()), 'n_queued', '0', 'n_waiting', '0')
    else
      redis.call('HDEL', meta, 'ended_at')
    end
    if grace then stop_in(grace) end
    if clock == '1' then redis.call('HSET', meta, 'clock_at', text(now_ms())) end
    tell('moved', '', new)
    publish(events)
    return {CODE.OK, new}
  end
end
return {CODE.WRONG_STATE, status}
