-- Create a run; its graph is appended before it is sealed.
-- KEYS    meta
-- ARGV    operation, then field and value in turn
-- Returns OK or EXISTS
-- Events  none
local meta = KEYS[1]
local operation = ARGV[1]
if run_exists() then
  -- The reply to this very creation was lost.
  return redis.call('HGET', meta, 'operation') == operation and CODE.OK or CODE.EXISTS
end
redis.call('HSET', meta, 'operation', operation, 'status', 'creating', 'epoch', '0',
  'generation', '1', 'total', '0', 'created_at', text(now_ms()), unpack(ARGV, 2))
return CODE.OK
