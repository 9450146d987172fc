-- Record what a batch finished, claim what it runs next, end it: in one round trip.
-- A finish counts if and only if its token holds the claim, or held it before the task became
-- unknown. Neither epoch nor run status matters, so the work of a live worker is never lost.
-- KEYS    meta results claims progress beats events history troubles traits refusals graph
--         expansions
-- ARGV    request: msgpack map of batch, epoch, worker, finishes (fields of Finish but packed and
--         what is empty), claims (fields of ClaimRequest), released (task and token of claims that
--         are given back), refused (fields of Refused in turn) and by (those of WorkerFacts),
--         records (node and token of the expansions that tasks of the batch come from),
--         ending (bool), unstarted (names, for ending); then one packed TaskResult per finish
-- Returns list of finish codes, list of claim replies {code, attempt, iteration, base, lost}
-- Events  finished, waiting, refused, claimed, released, batch_ended
local meta, results, claims, progress = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local beats, events, history = KEYS[5], KEYS[6], KEYS[7]
local troubles, traits, refusals, graph, expansions = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local request = cmsgpack.unpack(ARGV[1])

local refused, run = refusal(nil, false, 'status', 'concurrency', 'clock_offset_ms', 'growing')
local finish_codes, claim_replies = {}, {}
if refused then
  for i = 1, #request.finishes do finish_codes[i] = CODE.GONE end
  for i = 1, #request.claims do claim_replies[i] = {CODE.GONE} end
  return {finish_codes, claim_replies}
end

-- A Redis that has reached its maxmemory accepts outcomes, but grants no more claims. This is
-- tested before anything is written, by a write that changes nothing: no member is empty.
local full = false
if #request.claims > 0 then
  local asked = redis.pcall('ZADD', troubles, 'XX', 0, '')
  full = type(asked) == 'table' and string.find(asked.err, 'OOM', 1, true) ~= nil
end
write_though_full()

-- The writes of all finishes, collected for one command per key.
local counted, ended, outcomes, dropped = {}, {}, {}, {}
-- Tasks whose claims this call has ended.
local freed = {}
local any_progress = redis.call('EXISTS', progress) == 1

-- The token does not hold the claim: return whether the outcome counts, and if not, why.
local function finish_without_claim(done, packed)
  local known = redis.call('HGET', results, done.task)
  local last = read_progress(progress, done.task)
  -- The reply to an earlier delivery of this outcome was lost. It is written again, since WAITAOF
  -- covers only the writes of its own connection.
  if known == packed then
    redis.call('HSET', results, done.task, packed)
    return CODE.RECORDED
  end
  if not known and done.kind == 'wait' and last.token == done.token then
    redis.call('HSET', progress, done.task, cmsgpack.pack(last))
    return CODE.RECORDED
  end
  -- The task was given up as unknown, and the worker that had it reports how it really ended. A
  -- growing node is unknown only in a snapshot; whoever expanded it wrote its chunks elsewhere.
  local late = known and status_of(known) == 'unknown' and last.token == done.token
    and not done.growth
  if not late then
    -- Another claim, a reopening or a decision overtook this one: it is evidence, not an outcome.
    remember(history, {kind = 'refused', task = done.task, status = done.status,
      attempt = done.attempt, by = done.worker, packed = packed, keep = done.keep})
    tell('refused', done.task, done.status, done.attempt, '', done.worker)
    return CODE.REFUSED
  end
  remember(history, {kind = 'late', task = done.task, status = 'unknown',
    attempt = done.attempt, by = done.worker, packed = known, keep = done.keep})
  redis.call('HDEL', results, done.task)
  note_trouble(troubles, traits, done.task, '')
  count('unknown', -1)
  unblock()
  run[3] = redis.call('HGET', meta, 'status')
end

-- Record what a growing node has added to the run, in the same write as its success: return the code
-- that refuses it, or nil. growth: chunks, children, queues. This takes as long however many
-- children there are.
local function expand(node, token, growth)
  local chunks, children, queues = unpack(growth)
  local limits = redis.call('HMGET', meta, 'total', 'max_tasks')
  local written = read_written(graph, token)
  local total, bytes = tonumber(limits[1]) + children, graph_bytes() + written.bytes
  if total > tonumber(limits[2] or POLICY.MAX_TASKS) or bytes > most_graph_bytes() then
    return CODE.TOO_LARGE
  end
  -- A Redis from before a chunk was written has come back: the worker writes them again.
  if written.chunks ~= chunks or written.fields ~= chunks + 1 then return CODE.WRONG_STATE end
  local seq = redis.call('HLEN', expansions) + 1
  redis.call('HSET', expansions, node, cmsgpack.pack({token, seq, chunks, children, queues}))
  redis.call('HSET', meta, 'total', text(total), 'graph_bytes', text(bytes))
  add_queues(queues)
  end_writing(graph, token)
end

local function finish(done, held, packed)
  done.worker = done.worker or request.worker
  if held and cmsgpack.unpack(held)[3] == done.token then
    if done.growth then
      local refused = expand(done.task, done.token, done.growth)
      if refused then return refused end
    elseif done.grows then
      drop_chunks(graph, done.token)
    end
    dropped[#dropped + 1] = done.task
    freed[done.task] = true
  else
    local code = finish_without_claim(done, packed)
    if code then return code end
  end
  if done.kind == 'wait' then
    settle_waiting(progress, history, done, packed, done.history)
    any_progress = true
    return CODE.RECORDED
  end
  counted[done.status] = (counted[done.status] or 0) + 1
  if TROUBLES[done.status] then note_trouble(troubles, traits, done.task, done.status, done) end
  if done.status == 'unknown' then
    settle_final(results, progress, done, packed)
    any_progress = true
    return CODE.RECORDED
  end
  ended[#ended + 1] = done.task
  outcomes[#outcomes + 1] = done.task
  outcomes[#outcomes + 1] = packed
  tell('finished', done.task, done.status, done.attempt, '', done.worker, 0, done.duration)
  return CODE.RECORDED
end

-- The claims on all tasks of the request, packed: of the finishes, then of the claims.
local names = {}
for i, done in ipairs(request.finishes) do names[i] = done.task end
for i, wanted in ipairs(request.claims) do names[#request.finishes + i] = wanted.task end
local held = #names > 0 and redis.call('HMGET', claims, unpack(names)) or names

for i, done in ipairs(request.finishes) do
  finish_codes[i] = finish(done, held[i], ARGV[1 + i])
end
if #dropped > 0 then redis.call('HDEL', claims, unpack(dropped)) end
if #ended > 0 then
  redis.call('HSET', results, unpack(outcomes))
  if any_progress then redis.call('HDEL', progress, unpack(ended)) end
end
for status, number in pairs(counted) do count(status, number) end
-- Nothing happened: others may run the task. The entries that follow say more about it.
local function release(task, token, ...)
  local claim = read_claim(claims, task)
  if claim and claim[3] == token then
    redis.call('HDEL', claims, task)
    -- Some claim has written chunks, perhaps this one.
    if (run[6] or '0') ~= '0' then drop_chunks(graph, token) end
    freed[task] = true
    tell('released', task, '', claim[1], request.batch, ...)
  end
end

-- Claimed ahead, and not begun.
for _, pair in ipairs(request.released or {}) do release(pair[1], pair[2]) end
-- What this worker cannot run. A verify hook has no claim: its batch reports it when it ends.
for _, refused in ipairs(request.refused or {}) do
  local task, token, scope, what, words, trace = unpack(refused)
  keep_refusal(refusals, history, request.by, {task, scope, what, words, trace})
  release(task, token, request.by[1], 0, 0, {}, words)
end

-- Read after the finishes: one of them may have unblocked the run.
local run_epoch, run_status, concurrency = run[1], run[3], tonumber(run[4])
local begun, now
-- Whether the expansions that the batch's tasks come from are those that its coordinator read.
local recorded = true
if #request.claims > 0 then
  begun = redis.call('HEXISTS', beats, request.batch) == 1
  now = now_ms(run[5] or '0')
  for _, record in ipairs(request.records or {}) do
    local packed = redis.call('HGET', expansions, record[1])
    recorded = recorded and packed and cmsgpack.unpack(packed)[1] == record[2]
  end
end

-- Other batches that hold claims. A batch runs one task at a time, so it counts once.
local function others_at_work()
  local seen, total = {[request.batch] = true}, 0
  for _, packed in ipairs(redis.call('HVALS', claims)) do
    local batch = cmsgpack.unpack(packed)[4]
    if not seen[batch] then
      seen[batch] = true
      total = total + 1
    end
  end
  return total
end

-- Task -> the claim on it that this call has made.
local made, fresh = {}, {}

-- Whether the dependencies in the same batch let a task run. A task of a group may depend on
-- another claim of the group: the worker runs them in order, and gives back what may not run.
local function satisfied(needs, group)
  for _, need in ipairs(needs) do
    if not (group and made[need[1]]) then
      local packed = redis.call('HGET', results, need[1])
      if packed then
        local satisfies = need[2] and POLICY.SATISFIES_TOLERANT or POLICY.SATISFIES
        if not satisfies[status_of(packed)] then return false end
      else
        local claim = group and read_claim(claims, need[1])
        if not claim or claim[4] ~= request.batch then return false end
      end
    end
  end
  return true
end

local function claim(wanted, packed)
  local held = packed and not freed[wanted.task] and cmsgpack.unpack(packed)
  -- The reply to this claim was lost: the caller holds it, whatever happened since.
  if held and held[3] == wanted.token then
    return {CODE.GRANTED, held[1], held[2], held[7], held[8]}
  end
  -- A replaced coordinator queued this batch: its successor decides what runs. Or Redis is one from
  -- before the expansion, which may be made anew, differently.
  if run_epoch ~= request.epoch or not recorded then return {CODE.STALE_EPOCH} end
  if not POLICY.CLAIMED_IN[run_status] then return {CODE.STOPPED} end
  -- The coordinator gave this batch up while its worker was away: nobody would watch the claim.
  if not begun then return {CODE.STOPPED} end
  if held or made[wanted.task] then return {CODE.BUSY} end
  -- The task has an outcome: another batch was faster, or the queue held an entry twice.
  if redis.call('HEXISTS', results, wanted.task) == 1 then return {CODE.DONE} end
  local last = any_progress and read_progress(progress, wanted.task) or {}
  -- An entry from before a backoff, or of a task that started and must not start again.
  if last.started or (last.not_before or 0) > now then return {CODE.NOT_READY} end
  -- A delayed delivery of a claim whose outcome was recorded already.
  if last.token == wanted.token then return {CODE.NOT_READY} end
  if wanted.needs and not satisfied(wanted.needs, wanted.group) then return {CODE.NOT_READY} end
  if full or (concurrency and others_at_work() >= concurrency) then return {CODE.LIMIT} end
  local started = wanted.start and now or 0
  local attempt, iteration = last.attempt or 1, last.iteration or 1
  local base, lost = last.base or 0, last.lost or 0
  made[wanted.task] = true
  fresh[#fresh + 1] = wanted.task
  fresh[#fresh + 1] = pack_claim(
    {attempt, iteration, wanted.token, request.batch, now, started, base, lost})
  if not wanted.quiet then tell('claimed', wanted.task, '', attempt, request.batch) end
  return {CODE.GRANTED, attempt, iteration, base, lost}
end

for i, wanted in ipairs(request.claims) do
  claim_replies[i] = claim(wanted, held[#request.finishes + i])
end
if #fresh > 0 then redis.call('HSET', claims, unpack(fresh)) end
if request.ending and redis.call('HDEL', beats, request.batch) == 1 then
  tell('batch_ended', '', '', 0, request.batch, '', 0, 0, request.unstarted)
end
publish(events)
return {finish_codes, claim_replies}
