-- Create a run: whole, or without tasks; then its graph is appended before it is sealed.
-- KEYS    meta graph
-- ARGV    operation, number of tasks and all of them packed as one chunk (0 and empty: they are
--         appended), then field and value in turn
-- Returns OK or EXISTS
-- Events  none
local meta, graph = KEYS[1], KEYS[2]
local operation, total, tasks = ARGV[1], ARGV[2], ARGV[3]
if run_exists() then
  -- The reply to this very creation was lost.
  return redis.call('HGET', meta, 'operation') == operation and CODE.OK or CODE.EXISTS
end
if tasks ~= '' then redis.call('HSET', graph, '0', tasks) end
redis.call('HSET', meta, 'operation', operation, 'status', tasks == '' and 'creating' or 'running',
  'epoch', '0', 'generation', '1', 'total', total, 'created_at', text(now_ms()), unpack(ARGV, 4))
return CODE.OK
