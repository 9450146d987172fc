-- Shared by every script; KEYS[1] is always the meta hash of the run. CODE and POLICY are filled in
-- from Python: reply codes, and rules of distflow/core.
local META = KEYS[1]

-- Unix milliseconds on Redis's clock. Tests move it with the meta field clock_offset_ms, which a
-- script that has read it already may give.
local function now_ms(offset)
  local time = redis.call('TIME')
  offset = tonumber(offset or redis.call('HGET', META, 'clock_offset_ms') or '0')
  return time[1] * 1000 + math.floor(time[2] / 1000) + offset
end

-- Let what follows be written even if Redis has reached its maxmemory, since it ends, stops or
-- decides something and takes a few bytes. Redis checks for room only before the first write of a
-- script, and never before one that deletes: so do 6.2, 7.0 and Valkey 9.1, and 6.2 does not know
-- the flag allow-oom. Nothing may be written before this.
local function write_though_full()
  redis.call('HDEL', META, '')
end

-- The events of this call: one entry of the stream, however many there are. An event is a list:
-- kind, task, status, attempt, batch, worker, not_before, duration, unstarted, note. Fields that do
-- not fit the kind are empty, and empty ones at the end are left out.
local told = {}

local function tell(...)
  told[#told + 1] = {...}
end

local function publish(events)
  if #told > 0 then redis.call('XADD', events, '*', 'e', cmsgpack.pack(told)) end
end

-- An integer beyond 2^31 as text: tostring would round it to 14 digits.
local function text(number)
  return string.format('%.0f', number)
end

-- The guard of every call on a run: the code that refuses it, or nil and fields of the run, which are
-- read along: epoch, v, then those that are named. epoch: that of a coordinator (nil for other
-- callers): one that slept knows nothing of what its successor sees and does. must_read: whether the
-- caller must be able to read the run: one that cannot must not lead, move or remove it.
local function refusal(epoch, must_read, ...)
  local run = redis.call('HMGET', META, 'epoch', 'v', ...)
  if not run[1] and redis.call('EXISTS', META) == 0 then return CODE.GONE end
  if must_read and run[2] and (tonumber(run[2]) or math.huge) > POLICY.NEWEST_VERSION then
    return CODE.TOO_NEW
  end
  if epoch and run[1] ~= epoch then return CODE.STALE_EPOCH end
  return nil, run
end

-- The guard of calls that create a run: refuses another creation of the same name, and a run whose
-- graph is frozen.
local function making_refusal(operation)
  local refused = refusal()
  if refused then return refused end
  local run = redis.call('HMGET', META, 'operation', 'status')
  if run[1] ~= operation or run[2] ~= 'creating' then return CODE.WRONG_STATE end
end

-- The status of an encoded TaskResult: the first entry of the map, after the map's own byte, seven
-- bytes of the key and the length of the value. The data is never unpacked here.
local function status_of(packed)
  return string.sub(packed, 10, 9 + string.byte(packed, 9) - 160)
end

local function count(status, change)
  redis.call('HINCRBY', META, 'n_' .. status, change)
end

local TROUBLES, TOLERATED = {unknown = 0, failure = 1}, 2

-- Note that a task failed or is unknown, or remove it if it is neither: so people can see these
-- tasks without a search, however large the run is. said: what the caller knows of the task:
-- tolerated, hooked; the traits of a task that was there from the start are known.
local function note_trouble(troubles, traits, task, status, said)
  local kind = TROUBLES[status]
  if not kind then
    redis.call('ZREM', troubles, task)
    return
  end
  local its = said and (said.tolerated and 'c' or '') .. (said.hooked and 'v' or '') or ''
  if its ~= '' then
    -- What a growing node has added has no traits before this.
    redis.call('HSET', traits, task, its)
  else
    its = redis.call('HGET', traits, task) or ''
  end
  local tolerated = string.find(its, 'c', 1, true)
  redis.call('ZADD', troubles, status == 'failure' and tolerated and TOLERATED or kind, task)
end

-- Keep the traits of tasks, in a list of task and traits in turn: see append_graph.
local function add_traits(traits, its_traits)
  for i = 1, #its_traits, 2 do
    redis.call('HSET', traits, its_traits[i], its_traits[i + 1])
  end
end

-- A claim as a list: attempt, iteration, token, batch, claimed, started, base, lost.
local function pack_claim(claim)
  return cmsgpack.pack(claim)
end

-- The claim on a task, or nil.
local function read_claim(claims, task)
  local packed = redis.call('HGET', claims, task)
  return packed and cmsgpack.unpack(packed)
end

-- A task's progress as a map with the fields of Progress; {} if there is none.
local function read_progress(progress, task)
  local packed = redis.call('HGET', progress, task)
  return packed and cmsgpack.unpack(packed) or {}
end

-- Name the queues of further tasks among those of the run.
local function add_queues(more)
  local packed = redis.call('HGET', META, 'queues')
  local queues, seen = packed and cmsgpack.unpack(packed) or {}, {}
  for _, queue in ipairs(queues) do seen[queue] = true end
  for _, queue in ipairs(more) do
    if not seen[queue] then queues[#queues + 1] = queue end
  end
  redis.call('HSET', META, 'queues', cmsgpack.pack(queues))
end

-- The field of the graph with a chunk of an expansion; -1 is what the expansion stands for.
local function chunk_field(token, number)
  return token .. ':' .. (number == -1 and 'value' or text(number))
end

-- What a claim has written of an expansion that is not recorded: how many fields, the number behind
-- its last chunk, and how many bytes.
local function read_written(graph, token)
  local packed = redis.call('HGET', graph, token)
  local known = packed and cmsgpack.unpack(packed) or {0, 0, 0}
  return {fields = known[1], chunks = known[2], bytes = known[3]}
end

-- A claim has ended: nothing that it has written of an expansion waits for a record any more.
local function end_writing(graph, token)
  if redis.call('HDEL', graph, token) == 1 then redis.call('HINCRBY', META, 'growing', -1) end
end

-- A claim ends without an expansion: delete what it has written of one.
local function drop_chunks(graph, token)
  for number = -1, read_written(graph, token).chunks - 1 do
    redis.call('HDEL', graph, chunk_field(token, number))
  end
  end_writing(graph, token)
end

-- How many bytes the chunks of the run's graph have, and may have.
local function graph_bytes()
  return tonumber(redis.call('HGET', META, 'graph_bytes') or '0')
end

local function most_graph_bytes()
  return tonumber(redis.call('HGET', META, 'max_graph_bytes') or POLICY.MAX_GRAPH_BYTES)
end

-- A lease lapses by Redis's clock, which may have been set back: it is never held for longer than
-- its holder asked for. A live holder renews it long before.
local function shorten_lease(meta, lease)
  local asked = tonumber(redis.call('HGET', meta, 'lease_ms') or '')
  if asked and redis.call('PTTL', lease) > asked then
    redis.call('SET', lease, redis.call('GET', lease), 'PX', asked)
  end
end

-- Append to the history. entry: kind, task, status, attempt, by, note, packed, keep (the last two
-- optional). Beyond the limit, the oldest entry that need not be kept is dropped. All entries
-- before the cursor history_from are kept ones, so this never searches far.
local function remember(history, entry)
  local fields = {'at', text(now_ms()), 'kind', entry.kind}
  for _, name in ipairs({'task', 'status', 'attempt', 'by', 'note'}) do
    if entry[name] and entry[name] ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = entry[name]
    end
  end
  if entry.packed and #entry.packed > POLICY.HISTORY_BYTES then
    fields[#fields + 1] = 'digest'
    fields[#fields + 1] = #entry.packed .. ' bytes, SHA-1 ' .. redis.sha1hex(entry.packed)
  elseif entry.packed and entry.packed ~= '' then
    fields[#fields + 1] = 'packed'
    fields[#fields + 1] = entry.packed
  end
  if entry.keep then
    fields[#fields + 1] = 'keep'
    fields[#fields + 1] = '1'
    redis.call('HINCRBY', META, 'history_kept', 1)
  end
  redis.call('XADD', history, '*', unpack(fields))
  local kept = tonumber(redis.call('HGET', META, 'history_kept') or '0')
  if redis.call('XLEN', history) - kept > POLICY.HISTORY_LIMIT then
    local from = redis.call('HGET', META, 'history_from') or '-'
    for _, old in ipairs(redis.call('XRANGE', history, from, '+', 'COUNT', 64)) do
      from = old[1]
      local keep = false
      for i = 1, #old[2], 2 do
        keep = keep or old[2][i] == 'keep'
      end
      if not keep then
        redis.call('XDEL', history, from)
        break
      end
    end
    redis.call('HSET', META, 'history_from', from)
  end
end

-- The run moves to another status: add up the time at rest, which is not run time.
local function count_rest(new)
  local since = redis.call('HGET', META, 'rest_at')
  if POLICY.AT_REST[new] then
    if not since then redis.call('HSET', META, 'rest_at', text(now_ms())) end
  elseif since then
    -- The clock may have been set back.
    local ms = math.max(0, now_ms() - tonumber(since))
    redis.call('HINCRBY', META, 'rested', text(ms))
    redis.call('HDEL', META, 'rest_at')
  end
end

-- Record that a worker cannot run something: one entry per registration of the worker, and one in
-- the history per task. by: name, birth, host, pid, directory of the worker; task may be empty.
local function keep_refusal(refusals, history, by, refused)
  local task, scope, what, words, trace = unpack(refused)
  local field = cmsgpack.pack({scope, by[1], by[2]})
  local packed = redis.call('HGET', refusals, field)
  local known = packed and cmsgpack.unpack(packed) or {since = now_ms(), tasks = {}}
  known.what, known.words, known.trace = what, words, trace
  known.host, known.pid, known.directory = by[3], by[4], by[5]
  local is_new = task ~= '' and #known.tasks < POLICY.REFUSED_TASKS
  for _, told in ipairs(known.tasks) do is_new = is_new and told ~= task end
  if is_new then
    known.tasks[#known.tasks + 1] = task
    remember(history, {kind = 'misfit', task = task, by = by[1], note = words})
  end
  redis.call('HSET', refusals, field, cmsgpack.pack(known))
end

-- A run that was blocked for a decision goes on as soon as somebody leads it.
local function unblock()
  local run = redis.call('HMGET', META, 'status', 'reason')
  if run[1] == 'blocked' then
    local goes_on = run[2] and POLICY.UNBLOCKED_STOPPED or POLICY.UNBLOCKED
    redis.call('HSET', META, 'status', goes_on)
    redis.call('HDEL', META, 'ended_at')
    count_rest(goes_on)
  end
end

-- Make an outcome final; the caller counts it. finish: task, token, attempt, status, worker,
-- duration, and progress if it is unknown.
-- The token of an unknown outcome is kept: with it, the true outcome may still be recorded.
local function settle_final(results, progress, finish, packed)
  redis.call('HSET', results, finish.task, packed)
  if finish.status == 'unknown' then
    local kept = finish.progress
    kept.token = finish.token
    kept.started = true
    redis.call('HSET', progress, finish.task, cmsgpack.pack(kept))
  else
    redis.call('HDEL', progress, finish.task)
  end
  tell('finished', finish.task, finish.status, finish.attempt, '', finish.worker, 0,
    finish.duration)
end

-- Let a task run again later. finish: as above, with delay_ms and perhaps a note; the attempt's
-- outcome goes to the history under the given kind.
local function settle_waiting(progress, history, finish, packed, kind)
  local due = now_ms() + finish.delay_ms
  local next_try = finish.progress
  next_try.not_before = due
  next_try.token = finish.token
  redis.call('HSET', progress, finish.task, cmsgpack.pack(next_try))
  remember(history, {kind = kind, task = finish.task, status = finish.status,
    attempt = finish.attempt, by = finish.worker, packed = packed, keep = finish.keep})
  tell('waiting', finish.task, finish.status, finish.attempt, '', finish.worker, due,
    finish.duration, {}, finish.note or '')
end
