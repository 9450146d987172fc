-- The statuses of tasks, without their data.
-- KEYS    meta results
-- ARGV    tasks, a few thousand at most
-- Returns a status per task, empty if there is no outcome
-- Events  none
local results, tasks = KEYS[2], ARGV
local statuses = #tasks > 0 and redis.call('HMGET', results, unpack(tasks)) or {}
for i = 1, #tasks do
  statuses[i] = statuses[i] and status_of(statuses[i]) or ''
end
return statuses
