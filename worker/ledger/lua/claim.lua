-- Claims what is due for one worker child, merchant by merchant in turn: the lease begins and, where nothing prevents it,
-- the first call is permitted as well. A merchant's score in the queue is when to serve it next; a served merchant goes to
-- the end. Expired leases are reclaimed here.
--
-- KEYS: prefix
-- ARGV: ClaimArgs. `batch`: most shipments of a merchant, `limit`: of all. `farthest_ms`: a due time further ahead means
--       that a clock jumped. `max_isolated`: most shipments with a child of their own. `first_call_strategies`:
--       ',name,name,', those whose first request is a call. `is_starting`: a start message has begun this claim loop.
--       `min_room`: the room below which the child stops listening. `is_retry`: repeat what this id has claimed.
--       `isolated_merchant`, `isolated_reference`: the shipment for which the child was emptied, or '' twice
-- Returns the server's time, the epoch, in how many ms more is due (0: now, -1: never), the start message that the caller
-- must send or an empty list, merchant and reference of a shipment for which the child is to be emptied or '' twice, the
-- fields of blocked_until, and per merchant: name, lease token, pause as JSON or '', ClaimedRows.
local now, turn = clock()
local child, claim_id, lease_ms, batch, limit, farthest_ms, max_call_ms, max_isolated, republished_ms,
  first_call_strategies, is_empty, is_starting, min_room, is_retry, isolated_merchant, isolated_reference =
  unpack(ARGV, 1, 16)
lease_ms, batch, limit, farthest_ms = tonumber(lease_ms), tonumber(batch), tonumber(limit), tonumber(farthest_ms)
max_call_ms, max_isolated, republished_ms = tonumber(max_call_ms), tonumber(max_isolated), tonumber(republished_ms)
min_room, is_empty, is_starting, is_retry = tonumber(min_room), is_empty == '1', is_starting == '1', is_retry == '1'
-- A child is empty well within this time, and then claims the shipment that must be isolated.
local EMPTYING_MS = 60000
-- A child that listens claims again within this time.
local LISTEN_MS = 2000
local MERCHANTS_AT_ONCE, MAX_ROUNDS = 16, 7
-- Far due times and leases are looked for in a child's first claim, and in one of many.
local FAR_EVERY = 16
local looks_far = is_starting or now % FAR_EVERY == 0
-- With more blocks than this, no claim permits a call.
local MAX_BLOCKS = 50
local last_claim = P .. 'claims:' .. child
local epoch, epoch_since, due_before = current_epoch(now)
local room, out, empty_for, is_alone, expired = limit, {}, { '', '' }, false, nil
local blocks, is_blocked = redis.call('HKEYS', BLOCKED_UNTIL), {}
for _, name in ipairs(blocks) do is_blocked[name] = true end
local may_permit = #blocks <= MAX_BLOCKS
if not may_permit then blocks = {} end
local some_are_paused = redis.call('EXISTS', P .. 'paused') == 1

local function expired_leases()
  expired = expired or expiry(now, lease_ms, max_call_ms)
  return expired
end

-- Reclaims expired leases. Returns how many shipments are working, and when the first lease ends.
local function reclaim_expired(m)
  if looks_far then correct_far_times(m, now, farthest_ms, batch) end
  local lease_end = first_score(working(m))
  if not lease_end then return 0 end
  if looks_far or lease_end <= now or lease_end > now + farthest_ms then
    for _, r in ipairs(some(working(m), '-inf', now, batch)) do expired_leases().expire_lease(m, r) end
    for _, r in ipairs(some(working(m), now + farthest_ms, '+inf', batch)) do expired_leases().expire_lease(m, r) end
    lease_end = first_score(working(m))
  end
  return redis.call('ZCARD', working(m)), lease_end
end

local function grant(m, references, records, token_id, has_limits)
  local pause = some_are_paused and redis.call('HGET', P .. 'paused', m) or ''
  local is_free = may_permit and not has_limits and pause == '' and not is_blocked['m:' .. m] and not is_blocked['u:' .. m]
  local ends, tokens, rows = {}, {}, {}
  for i, r in ipairs(references) do
    local known = records[i]
    local doubt_since = in_doubt_since(known, epoch, epoch_since, due_before, republished_ms)
    local is_permitted = is_free and cancelled_by(m, r) == '' and starts_with_call(known, doubt_since, first_call_strategies)
    ends[2 * i - 1], ends[2 * i] = now + lease_ms, r
    tokens[2 * i - 1] = r
    tokens[2 * i] = (is_permitted and 'c:' or 'r:') .. token_id .. ':' .. epoch .. (is_permitted and ':' .. now or '')
    rows[i] = claimed_row(m, r, known, doubt_since, is_permitted)
  end
  redis.call('ZADD', working(m), unpack(ends))
  redis.call('HSET', lease_tokens(m), unpack(tokens))
  redis.call('ZREM', schedule(m), unpack(references))
  room = room - #references
  out[#out + 1] = { m, token_id, pause, rows }
end

-- Only an empty child gets a shipment that must be isolated; another one is asked to empty itself, and gets nothing more.
local function grant_isolated(m, r, known)
  redis.call('ZADD', ISOLATED, now + math.max(lease_ms, EMPTYING_MS), m .. ':' .. r)
  if is_empty and #out == 0 then
    is_alone = true
    grant(m, { r }, { known }, claim_id .. '.a', true)
  else
    empty_for, room = { m, r }, 0
  end
end

local function may_isolate(m, r)
  if empty_for[1] ~= '' or redis.call('ZSCORE', ISOLATED, m .. ':' .. r) then return false end
  redis.call('ZREMRANGEBYSCORE', ISOLATED, '-inf', now)
  return redis.call('ZCARD', ISOLATED) < max_isolated
end

-- Claims one batch of a merchant, the longest due first. Returns how many were granted, and how many more may be.
local function serve_batch(m, working_count)
  local free, has_limits = free_in_window(m, working_count, now)
  local count = math.min(free, batch, room)
  if count <= 0 then return 0, free end
  local references, records = {}, {}
  for i, r in ipairs(some(schedule(m), '-inf', now, count)) do
    local known = read_record(m, r)
    if (tonumber(known[LOST_AT]) or 0) > 0 then known[LOSSES] = expired_leases().attribute_loss(m, r, known) end
    if not must_isolate(known[GROUP_LOSSES], known[LOSSES]) then
      references[#references + 1], records[#records + 1] = r, known
    elseif i == 1 and may_isolate(m, r) then
      grant_isolated(m, r, known)
      if is_alone then return 1, free - 1 end
    end
  end
  if #references > 0 then grant(m, references, records, claim_id, has_limits) end
  return #references, free - #references
end

-- When to serve a merchant next, or nil.
local function next_turn(m, free, lease_end)
  local due = first_score(schedule(m))
  if due and due > now + farthest_ms then
    correct_far_times(m, now, farthest_ms, batch)
    due = now
  end
  if due and due <= now then
    turn = turn + 0.001
    if free > 0 then return turn end
    -- A report of this merchant queues it earlier; a rate makes room by time alone.
    return math.min(lease_end or now + 500, now + 500)
  end
  return due and lease_end and math.min(due, lease_end) or due or lease_end
end

local function serve(m)
  local working_count, lease_end = reclaim_expired(m)
  if is_on_hold(m) then
    if lease_end then redis.call('ZADD', MERCHANT_QUEUE, lease_end, m) else redis.call('ZREM', MERCHANT_QUEUE, m) end
    return
  end
  local granted, free = serve_batch(m, working_count)
  if granted > 0 then lease_end = math.min(lease_end or now + lease_ms, now + lease_ms) end
  local at = next_turn(m, free, lease_end)
  if at then redis.call('ZADD', MERCHANT_QUEUE, at, m) else redis.call('ZREM', MERCHANT_QUEUE, m) end
end

local function serve_all()
  for _ = 1, MAX_ROUNDS do
    local merchants = some(MERCHANT_QUEUE, '-inf', now, MERCHANTS_AT_ONCE)
    for _, m in ipairs(merchants) do
      if room <= 0 or is_alone then return end
      serve(m)
    end
    if #merchants < MERCHANTS_AT_ONCE then return end
  end
end

-- The shipment for which the child was emptied, if it is still due.
local function claim_isolated(m, r)
  local due = tonumber(redis.call('ZSCORE', schedule(m), r))
  if due and due <= now and is_empty then
    grant_isolated(m, r, read_record(m, r))
  else
    redis.call('ZREM', ISOLATED, m .. ':' .. r)
  end
end

local function remember_claims()
  local claims = {}
  for i, one in ipairs(out) do
    local references = {}
    for j, row in ipairs(one[4]) do references[j] = row[1] end
    claims[i] = { one[1], one[2], references }
  end
  redis.call('SET', last_claim, cjson.encode({ id = claim_id, claims = claims }), 'PX', lease_ms)
end

local last = redis.call('GET', last_claim)
last = last and cjson.decode(last)
if is_starting then redis.call('DEL', STARTING) end
if looks_far then
  for _, m in ipairs(some(MERCHANT_QUEUE, now + farthest_ms, '+inf', 100)) do queue_merchant(m, turn) end
end
if last and last.id == claim_id then
  -- A first try that arrives after its own retry claims nothing.
  if is_retry then
    out, is_alone = repeat_claims(last.claims, epoch, epoch_since, due_before, republished_ms)
  end
else
  if isolated_merchant ~= '' then claim_isolated(isolated_merchant, isolated_reference) else serve_all() end
  if #out > 0 or is_retry then remember_claims() end
end
local due = first_score(MERCHANT_QUEUE)
local due_in, start = due and math.max(0, math.ceil(due - now)) or -1, {}
if room >= min_room and not is_alone then
  redis.call('ZADD', LISTENING, now + LISTEN_MS, child)
else
  redis.call('ZREM', LISTENING, child)
  if due_in == 0 then start = notify(now) end
end
return { now, epoch, due_in, start, empty_for[1], empty_for[2], blocks, out }
