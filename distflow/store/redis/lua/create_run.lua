-- Create a run: whole, or without tasks; then its graph is appended before it is sealed.
-- KEYS    meta graph traits, then its other keys
-- ARGV    operation, status, number of tasks and all of them packed as one chunk (0 and empty: they
--         are appended), packed list of task and traits in turn, as of append_graph, then field and
--         value in turn
-- Returns OK or EXISTS
-- Events  none
local meta, graph, traits = KEYS[1], KEYS[2], KEYS[3]
local operation, status, total, tasks = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local its_traits = cmsgpack.unpack(ARGV[5])
if refusal() ~= CODE.GONE then
  -- The reply to this creation was lost.
  return redis.call('HGET', meta, 'operation') == operation and CODE.OK or CODE.EXISTS
end
-- This write comes first, so that a Redis without room refuses the whole call: it checks only
-- before the first write of a script, and never before one that deletes.
redis.call('HSET', meta, 'operation', operation)
-- A release that knows fewer keys may have deleted a run of this name and left the others.
redis.call('DEL', unpack(KEYS, 2))
if tasks ~= '' then redis.call('HSET', graph, '0', tasks) end
add_traits(traits, its_traits)
redis.call('HSET', meta, 'status', status, 'epoch', '0', 'generation', '1', 'total', total,
  'created_at', text(now_ms()), unpack(ARGV, 6))
return CODE.OK
