-- The statuses of tasks, without their data.
-- KEYS    meta results
-- ARGV    tasks
-- Returns a status per task, empty where there is no outcome
-- Events  none
local results = KEYS[2]
local statuses = {}
for i = 1, #ARGV do
  local packed = redis.call('HGET', results, ARGV[i])
  statuses[i] = packed and status_of(packed) or ''
end
return statuses
