-- The coordinator gives up a batch whose worker is lost and that has no claims left.
-- KEYS    meta beats claims
-- ARGV    epoch, batch
-- Returns OK, BUSY (it holds a claim by now: look again), STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read it
local meta, beats, claims = KEYS[1], KEYS[2], KEYS[3]
local epoch, batch = ARGV[1], ARGV[2]
local refused = refusal(epoch)
if refused then return refused end
for _, packed in ipairs(redis.call('HVALS', claims)) do
  if cmsgpack.unpack(packed)[4] == batch then return CODE.BUSY end
end
redis.call('HDEL', beats, batch)
return CODE.OK
