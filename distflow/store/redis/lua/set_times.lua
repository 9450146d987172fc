-- Redis's clock was set: move the times that the run waits for accordingly, as its coordinator
-- measured them. A time that has changed since the caller looked stays.
-- KEYS    meta progress
-- ARGV    epoch, then in turn what is moved (clock_at, stop_at, or : and a task), the time in ms
--         that the caller saw, and the right one
-- Returns OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who waits
local meta, progress = KEYS[1], KEYS[2]
local epoch = ARGV[1]
local refused = refusal(epoch)
if refused then return refused end
write_though_full()
for i = 2, #ARGV, 3 do
  local what, seen, right = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if string.sub(what, 1, 1) ~= ':' then
    if redis.call('HGET', meta, what) == seen then redis.call('HSET', meta, what, right) end
  else
    local task = string.sub(what, 2)
    local last = read_progress(progress, task)
    if last.not_before == tonumber(seen) then
      last.not_before = tonumber(right)
      redis.call('HSET', progress, task, cmsgpack.pack(last))
    end
  end
end
return CODE.OK
