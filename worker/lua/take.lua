-- Takes what is due, merchant by merchant in turn, for one worker child: the lease begins, and where nothing stands
-- against it the first call is permitted as well. A merchant's score is when to look at it next and, once that has
-- come, its place in the line: whoever is served goes to the end. Leases that ran out come back here.
--
-- KEYS: prefix
-- ARGV: child, id of the lease, lease in ms, most shipments of a merchant, most shipments in all, the furthest that a
--       due time can honestly lie ahead in ms (beyond it a clock has jumped, and the entry is due), the longest call in
--       ms, most shipments that have a child of their own at a time, for how many ms after a change of the server an
--       order may be one that was sent again, names of the strategies whose first request is a call for an allocation
--       (',name,name,'), 1 if the child owns nothing, 1 if it begins to serve, the least room with which it goes on
--       listening, 1 to be told once more what this id has taken, and merchant and reference of the shipment for which
--       the child was emptied, or '' twice
-- Returns the server's time in ms, the number of its changes, in how many ms more is due (0: now, -1: nothing waits),
-- what the caller must send as a message that starts another child (see _wake.lua) or nothing, merchant and reference
-- of a shipment for which the child is to be emptied or '', the names of those nobody may call at present, and per
-- merchant: name, lease token, pause as JSON or '', shipments (see _taken.lua).
local now, place = clock()
local child, id, lease, most, left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local far, longest, most_alone = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local again, calls_at_once, owns_nothing = tonumber(ARGV[9]), ARGV[10], ARGV[11] == '1'
local begins, least_room, is_retry = ARGV[12] == '1', tonumber(ARGV[13]), ARGV[14] == '1'
local AHEAD_MS = 500
-- For so long a host's losses are remembered.
local LOSSES_KEPT_MS = 3600000
-- A child needs no longer until it owns nothing, and takes the shipment for which it does that.
local EMPTIES_MS = 60000
-- How long it takes at the most until a child that serves takes again.
local LISTENS_MS = 2000
-- Merchants that are looked at in one script, some at a time.
local AT_A_LOOK, MOST_LOOKS = 16, 7
-- With more of them nobody can be told whom they concern.
local MOST_NOT_BEFORE = 50
local last = P .. 'taken:' .. child
local changes, changed, before = server_changes(now)
local out, wanted, lone = {}, { '', '' }, false
local stopped = redis.call('HLEN', NOT_BEFORE) > 0 and redis.call('HKEYS', NOT_BEFORE) or {}
local some_are_paused, is_stopped = redis.call('EXISTS', P .. 'paused') == 1, {}
for _, name in ipairs(stopped) do is_stopped[name] = true end
if #stopped > MOST_NOT_BEFORE then stopped = {} end
local admits = next(is_stopped) == nil or #stopped > 0

local function losses_of(holder) return P .. 'lost:' .. host_part(holder) end

-- A worker was lost. In the company of other shipments that says little: after two such losses a shipment is taken
-- alone. Alone it may be what kills; whether others of the same host were lost too shows only when their leases end, so
-- that is decided a lease later. `still_alive` takes it back.
local function lose(m, r, holder)
  local key, losses = record(m, r), losses_of(holder)
  redis.call('ZADD', losses, now, m .. ':' .. r)
  redis.call('ZREMRANGEBYSCORE', losses, '-inf', now - LOSSES_KEPT_MS)
  redis.call('PEXPIRE', losses, LOSSES_KEPT_MS)
  redis.call('HSET', key, 'lost_token', holder, 'lost_at', now)
  if is_alone(holder) then return now + lease end
  redis.call('HINCRBY', key, 'company_lost', 1)
  return now
end

local function lease_ran_out(m, r)
  local phase, holder, _, called = parse(redis.call('HGET', tokens(m), r) or 'q:?')
  -- A call known only by its permit may have been under way for as long as the longest one lasts. It began before now,
  -- also if the clock was put back since.
  if phase == 'c' then
    redis.call('HSET', record(m, r), 'lost_call', math.min(tonumber(called), now) + longest)
  end
  local due = phase == 'q' and now or lose(m, r, holder)
  redis.call('ZREM', working(m), r)
  redis.call('ZREM', ALONE, m .. ':' .. r)
  redis.call('HDEL', tokens(m), r)
  redis.call('ZADD', waiting(m), due, r)
end

-- Leases that ran out, and times that no clock can have meant. Returns how many shipments are at work, and when the
-- first lease ends.
local function bring_back(m)
  local function first(key, from, to) return redis.call('ZRANGEBYSCORE', key, from, to, 'LIMIT', 0, most) end
  for _, r in ipairs(first(waiting(m), now + far, '+inf')) do redis.call('ZADD', waiting(m), now, r) end
  local lease_end = head(working(m))
  if not lease_end then return 0 end
  for _, r in ipairs(first(working(m), '-inf', now)) do lease_ran_out(m, r) end
  for _, r in ipairs(first(working(m), now + far, '+inf')) do lease_ran_out(m, r) end
  return redis.call('ZCARD', working(m)), lease_end <= now and head(working(m)) or lease_end
end

-- Whether a shipment that was alone when it lost its worker is to blame: it is known as lost, and no other one of the
-- host about then.
local function is_own_loss(m, r, holder, at)
  local lost = redis.call('ZRANGEBYSCORE', losses_of(holder), at - lease, at + lease, 'LIMIT', 0, 2)
  return #lost == 1 and lost[1] == m .. ':' .. r
end

-- Whether the shipment needs a child of its own; decides what its last loss was worth, if it is time.
local function needs_to_be_alone(m, r, known)
  local at, holder = tonumber(known[LOST_AT]), known[LOST_TOKEN]
  if at and is_alone(holder) and now >= at + lease then
    redis.call('HDEL', record(m, r), 'lost_token', 'lost_at')
    if is_own_loss(m, r, holder, at) then known[LOST] = redis.call('HINCRBY', record(m, r), 'lost', 1) end
  end
  return must_be_alone(known[COMPANY_LOST], known[LOST])
end

-- Whether one more child may be kept for a shipment alone.
local function may_go_alone()
  redis.call('ZREMRANGEBYSCORE', ALONE, '-inf', now)
  return redis.call('ZCARD', ALONE) < most_alone
end

-- How many more shipments of a merchant than `at_work` may be so, within its window and the limits of its file; and
-- whether it has limits.
local function room(m, at_work)
  local window = tonumber(redis.call('HGET', P .. 'pace:' .. m, 'window') or FIRST_WINDOW)
  local limits = redis.call('HMGET', P .. 'limits:' .. m, 'in_flight', 'per_second')
  local in_flight, rate = tonumber(limits[1] or 0), tonumber(limits[2] or 0)
  if in_flight > 0 then window = math.min(window, in_flight) end
  local free = math.floor(window) - at_work
  if rate > 0 then
    local taken_ms = math.max(0, tonumber(redis.call('GET', P .. 'slot:' .. m) or 0) - now)
    free = math.min(free, math.ceil((AHEAD_MS - taken_ms) * rate / 1000))
  end
  return free, in_flight > 0 or rate > 0
end

-- A first call needs no leave of its own: nothing is known of the shipment that would have to be read back first, and
-- nothing holds the merchant up. Whether its API is up is for the caller to see, who knows it.
local function calls_first(known, doubt)
  return not known[PROGRESS] and doubt == 0 and tonumber(known[LOST_CALL] or 0) == 0 and tonumber(known[LOST] or 0) == 0
    and string.find(calls_at_once, ',' .. (string.match(known[ASKS] or '', '^%S+') or '?') .. ',', 1, true)
end

local function give(m, refs, records, token_id, free_to_call)
  local scores, marks, rows, pause = {}, {}, {}, some_are_paused and redis.call('HGET', P .. 'paused', m) or ''
  local is_free = admits and free_to_call and pause == '' and not is_stopped['m:' .. m] and not is_stopped['u:' .. m]
  for i, r in ipairs(refs) do
    local known = records[i]
    local doubt = in_doubt_since(known, changes, changed, before, again)
    local admitted = is_free and calls_first(known, doubt)
    scores[2 * i - 1], scores[2 * i] = now + lease, r
    marks[2 * i - 1] = r
    marks[2 * i] = (admitted and 'c:' or 'r:') .. token_id .. ':' .. changes .. (admitted and ':' .. now or '')
    rows[i] = told(r, known, doubt, admitted)
  end
  redis.call('ZADD', working(m), unpack(scores))
  redis.call('HSET', tokens(m), unpack(marks))
  redis.call('ZREM', waiting(m), unpack(refs))
  left = left - #refs
  out[#out + 1] = { m, token_id, pause, rows }
end

-- A child that owns something takes no shipment that must be alone: it is asked to get rid of the rest first.
local function give_alone(m, r, known)
  redis.call('ZADD', ALONE, now + math.max(lease, EMPTIES_MS), m .. ':' .. r)
  if owns_nothing and #out == 0 then
    lone = true
    give(m, { r }, { known }, id .. '.a', false)
  else
    -- Nothing more, so that it is empty soon.
    wanted, left = { m, r }, 0
  end
end

-- Some of one merchant's at a look, so that others have their turn. Who has waited longest is served first, alone or not.
-- Returns how many were given, and how much room there is left.
local function serve(m, at_work)
  local free, has_limits = room(m, at_work)
  local some = math.min(free, most, left)
  if some <= 0 then return 0, free end
  local refs, records = {}, {}
  for i, r in ipairs(redis.call('ZRANGEBYSCORE', waiting(m), '-inf', now, 'LIMIT', 0, some)) do
    local known = read_record(m, r)
    if not needs_to_be_alone(m, r, known) then
      refs[#refs + 1], records[#records + 1] = r, known
    elseif i == 1 and wanted[1] == '' and not redis.call('ZSCORE', ALONE, m .. ':' .. r) and may_go_alone() then
      give_alone(m, r, known)
      if lone then return 1, free - 1 end
    end
  end
  if #refs > 0 then give(m, refs, records, id, not has_limits) end
  return #refs, free - #refs
end

-- When to look again: at once if something is due and there is room, behind all others who are in the line; else at
-- the next due time or the end of a lease.
local function next_look(m, free, lease_end)
  local due = head(waiting(m))
  if due and due <= now then
    place = place + 0.001
    if free > 0 then return place end
    -- No room: whoever reports for this merchant wakes it; a rate frees room by time alone.
    return math.min(lease_end or now + 500, now + 500)
  end
  if due and lease_end then return math.min(due, lease_end) end
  return due or lease_end
end

local function look_at_first(merchants)
  local names = redis.call('ZRANGEBYSCORE', MERCHANTS, '-inf', now, 'LIMIT', 0, merchants)
  for _, m in ipairs(names) do
    if left <= 0 or lone then return false end
    local at_work, lease_end = bring_back(m)
    local given, free = serve(m, at_work)
    if given > 0 then lease_end = math.min(lease_end or now + lease, now + lease) end
    local at = next_look(m, free, lease_end)
    if at then redis.call('ZADD', MERCHANTS, at, m) else redis.call('ZREM', MERCHANTS, m) end
  end
  return #names == merchants
end

local function look_at_all()
  for _ = 1, MOST_LOOKS do
    if not look_at_first(AT_A_LOOK) then return end
  end
end

-- The shipment for which the child was emptied, if it still waits.
local function take_alone(m, r)
  local due = tonumber(redis.call('ZSCORE', waiting(m), r))
  if due and due <= now and owns_nothing then
    give_alone(m, r, read_record(m, r))
  else
    redis.call('ZREM', ALONE, m .. ':' .. r)
  end
end

-- What this id took, for a caller whose answer was lost. The tokens say after how many changes of the server they were
-- taken, now; that a call may be on its way stays.
local function tell_again(said)
  for _, one in ipairs(said.taken) do
    local m, token_id, rows = one[1], one[2], {}
    for _, r in ipairs(one[3]) do
      local token = redis.call('HGET', tokens(m), r)
      if lease_of(token, token_id) then
        local phase, _, _, called = parse(token)
        redis.call('HSET', tokens(m), r, phase .. ':' .. token_id .. ':' .. changes .. (called ~= '' and ':' .. called or ''))
        lone = lone or is_alone(token_id)
        local record_now = read_record(m, r)
        rows[#rows + 1] = told(r, record_now, in_doubt_since(record_now, changes, changed, before, again), false)
      end
    end
    out[#out + 1] = { m, token_id, redis.call('HGET', P .. 'paused', m) or '', rows }
  end
end

local function remember()
  local taken = {}
  for i, one in ipairs(out) do
    local refs = {}
    for j, row in ipairs(one[4]) do refs[j] = row[1] end
    taken[i] = { one[1], one[2], refs }
  end
  redis.call('SET', last, cjson.encode({ id = id, taken = taken }), 'PX', lease)
end

local known = redis.call('GET', last)
local said = known and cjson.decode(known)
if begins then redis.call('DEL', STARTING) end
if said and said.id == id then
  -- A first try that comes after its own retry takes nothing.
  if is_retry then tell_again(said) end
elseif ARGV[15] ~= '' then
  take_alone(ARGV[15], ARGV[16])
  remember()
else
  for _, m in ipairs(redis.call('ZRANGEBYSCORE', MERCHANTS, now + far, '+inf', 'LIMIT', 0, 100)) do wake(m, place) end
  look_at_all()
  remember()
end
local due = head(MERCHANTS)
local due_in, starts = due and math.max(0, math.ceil(due - now)) or -1, {}
if left >= least_room and not lone then
  redis.call('ZADD', SERVING, now + LISTENS_MS, child)
else
  redis.call('ZREM', SERVING, child)
  if due_in == 0 then starts = ring(now) end
end
return { now, changes, due_in, starts, wanted[1], wanted[2], stopped, out }
