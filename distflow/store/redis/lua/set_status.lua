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

-- When what runs is stopped: as a time, and, since Redis's clock may be set back before then, as
-- what was asked for.
local function stop_in(meta, ms)
  local stop_at = text(now_ms() + ms)
  redis.call('HSET', meta, 'stop_at', stop_at, 'grace', stop_at .. ' ' .. text(ms))
end

-- What is left of an earlier grace.
local function grace_left(meta)
  local stop_at = redis.call('HGET', meta, 'stop_at')
  if not stop_at then return math.huge end
  local known = redis.call('HGET', meta, 'grace') or ''
  local at, asked = string.match(known, '(%d+) (%d+)')
  local left = tonumber(stop_at) - now_ms()
  return at == stop_at and math.min(left, tonumber(asked)) or left
end

if not run_exists() then return {CODE.GONE, ''} end
-- There it may mean something else.
if is_too_new() then return {CODE.TOO_NEW, ''} end
write_though_full()
local run = redis.call('HMGET', meta, 'epoch', 'status')
if epoch ~= '' and run[1] ~= epoch then return {CODE.STALE_EPOCH, run[2]} end
-- The reply to this very move was lost, or another made it: then the shorter grace counts.
if run[2] == new then
  if grace then stop_in(meta, math.min(grace, grace_left(meta))) end
  return {CODE.OK, new}
end
for i = 7, #ARGV do
  if ARGV[i] == run[2] then
    redis.call('HSET', meta, 'status', new)
    count_rest(new)
    if reason ~= '' then redis.call('HSET', meta, 'reason', reason) end
    if ended == '1' then
      -- Its last coordinator need not have published that nothing is queued any more.
      redis.call('HSET', meta, 'ended_at', text(now_ms()), 'n_queued', '0', 'n_waiting', '0')
    else
      redis.call('HDEL', meta, 'ended_at')
    end
    if grace then stop_in(meta, grace) end
    if clock == '1' then redis.call('HSET', meta, 'clock_at', text(now_ms())) end
    tell('moved', '', new)
    publish(events)
    return {CODE.OK, new}
  end
end
return {CODE.WRONG_STATE, run[2]}
