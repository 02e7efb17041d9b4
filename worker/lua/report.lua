-- Writes what became of shipments: the entry in each one's story, and with it, in the same transaction, the verdict.
-- Only who holds a shipment may write; a late task is told so and changes nothing.
--   keep       the task goes on with it
--   hand       the next step's message takes it over
--   park       back into the schedule until `due`
--   allocated, failed   out of the schedule, the event into its stream, the record to expire
--
-- KEYS: prefix, allocated stream, failed stream
-- ARGV: lease in ms, seconds to keep settled records, then per shipment: merchant, reference, id, verdict, due in ms,
--       step, progress, asks, slot of the entry, entry ('' for none), event, reason,
--       api, how it did ('good', 'bad', 'throttled', or '' for no call)
-- Returns 1 (written) or 0 (not the holder any more) per shipment.
--
-- How the APIs did is counted too, whoever holds the shipment. A merchant's window (most shipments at work) grows with
-- every good answer and is halved by a 429, at most once a second; a breaker opens on a share of bad answers.
local now, place = clock()
local lease, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local out, left, touched, settled, apis, merchants = {}, {}, {}, {}, {}, {}
check_stream(KEYS[2])
check_stream(KEYS[3])
local FIRST_OPEN_MS, MOST_OPEN_MS, BUCKET_MS, FEW, SHARE = 1000, 15000, 10000, 10, 0.5

local function leave(m, r)
  left[record(m, r)] = true
  gather('ZREM', working(m), r)
  gather('HDEL', tokens(m), r)
  touched[m] = true
end

-- At once, not gathered: should the same shipment leave later in this script, its leaving is written last.
local function stay(m, r, token)
  redis.call('HSET', tokens(m), r, token)
  redis.call('ZADD', working(m), now + lease, r)
end

local function settle(m, r, state, stream, event, reason)
  leave(m, r)
  redis.call('XADD', stream, '*', 'event', event)
  settled[m] = settled[m] or {}
  settled[m][state] = (settled[m][state] or 0) + 1
  return { 'state', state, 'settled', now, 'reason', reason }
end

-- Each returns what else the record is to say.
local verdicts = {
  keep = function(m, r, id)
    stay(m, r, 'r:' .. id)
    return {}
  end,
  hand = function(m, r, id)
    stay(m, r, 'q:' .. id)
    return {}
  end,
  park = function(m, r, _, due, entry)
    leave(m, r)
    redis.call('ZADD', waiting(m), math.max(due, now), r)
    -- A call that came back shows that it is not this shipment that kills.
    return entry ~= '' and { 'lost', 0 } or {}
  end,
  allocated = function(m, r, _, _, _, event)
    return settle(m, r, 'allocated', KEYS[2], event, '')
  end,
  failed = function(m, r, _, _, _, event, reason)
    redis.call('ZADD', P .. 'failed:' .. m, now, r)
    redis.call('ZREMRANGEBYSCORE', P .. 'failed:' .. m, '-inf', now - keep * 1000)
    return settle(m, r, 'failed', KEYS[3], event, reason)
  end,
}

local function note(m, api, answer)
  if answer == '' then return end
  apis[api] = apis[api] or { good = 0, bad = 0 }
  merchants[m] = merchants[m] or { good = 0, throttled = 0, at_work = redis.call('ZCARD', working(m)) }
  if answer == 'bad' then
    apis[api].bad = apis[api].bad + 1
  else
    apis[api].good = apis[api].good + 1
    merchants[m][answer] = merchants[m][answer] + 1
  end
end

local function open_breaker(api)
  local key = P .. 'breaker:' .. api
  local opened = math.min(MOST_OPEN_MS, 2 * tonumber(redis.call('HGET', key, 'opened') or FIRST_OPEN_MS / 2))
  redis.call('HSET', key, 'until', now + opened, 'opened', opened)
  redis.call('PEXPIRE', key, opened + 3600000)
  redis.call('SADD', P .. 'breakers', api)
  redis.call('DEL', P .. 'probe:' .. api)
end

local function close_breaker(api)
  redis.call('DEL', P .. 'breaker:' .. api, P .. 'probe:' .. api, P .. 'calls:' .. api)
  redis.call('SREM', P .. 'breakers', api)
end

-- The last ten to twenty seconds of an API, in two buckets.
local function judge(api, did)
  local till = tonumber(redis.call('HGET', P .. 'breaker:' .. api, 'until') or 0)
  if till > 0 then
    if now < till then return end
    if did.good > 0 then return close_breaker(api) end
    return open_breaker(api)
  end
  local key, bucket = P .. 'calls:' .. api, math.floor(now / BUCKET_MS)
  local known = redis.call('HMGET', key, 'bucket', 'good', 'bad', 'good before', 'bad before')
  local age = bucket - tonumber(known[1] or 0)
  local good, bad = tonumber(known[2] or 0), tonumber(known[3] or 0)
  local good_before, bad_before = tonumber(known[4] or 0), tonumber(known[5] or 0)
  if age == 1 then good_before, bad_before, good, bad = good, bad, 0, 0 end
  if age > 1 then good_before, bad_before, good, bad = 0, 0, 0, 0 end
  good, bad = good + did.good, bad + did.bad
  redis.call('HSET', key, 'bucket', bucket, 'good', good, 'bad', bad, 'good before', good_before, 'bad before', bad_before)
  redis.call('PEXPIRE', key, 3 * BUCKET_MS)
  local all_bad, all = bad + bad_before, good + bad + good_before + bad_before
  if did.bad > 0 and all_bad >= FEW and all_bad / all >= SHARE then
    redis.call('DEL', key)
    open_breaker(api)
  end
end

local function steer(m, did)
  local key = P .. 'pace:' .. m
  local known = redis.call('HMGET', key, 'window', 'turned', 'at')
  local window, turned = tonumber(known[1] or FIRST_WINDOW), tonumber(known[2])
  if did.throttled > 0 then
    if now - tonumber(known[3] or 0) < 1000 then return end
    window = math.max(1, math.min(window, did.at_work) / 2)
    redis.call('HSET', key, 'window', window, 'turned', window, 'at', now)
    redis.call('ZADD', P .. 'slowed', now, m)
  elseif did.good > 0 and window < MOST_WINDOW then
    -- Doubles with every round of answers up to where it was throttled last, then grows by one a round.
    local grown = (not turned or window < turned) and did.good or did.good / window
    redis.call('HSET', key, 'window', math.min(MOST_WINDOW, window + grown))
  end
end

for i = 3, #ARGV, 14 do
  local m, r, id, verdict, due, step, progress, asks, slot, entry, event, reason, api, answer = unpack(ARGV, i, i + 13)
  note(m, api, answer)
  local held = not left[record(m, r)] and holds(m, r, id)
  if held then
    local says = verdicts[verdict](m, r, id, tonumber(due), entry, event, reason)
    if entry ~= '' then says[#says + 1], says[#says + 2] = slot, entry end
    redis.call('HSET', record(m, r), 'progress', progress, 'step', step, 'asks', asks, 'doubt', 0, 'noted', now,
      unpack(says))
    if verdict == 'allocated' or verdict == 'failed' then redis.call('EXPIRE', record(m, r), keep) end
  end
  out[#out + 1] = held and 1 or 0
end
write_gathered()
for m, states in pairs(settled) do
  for state, n in pairs(states) do redis.call('HINCRBY', P .. 'counts:' .. m, state, n) end
end
for api, did in pairs(apis) do judge(api, did) end
for m, did in pairs(merchants) do steer(m, did) end
for m in pairs(touched) do
  local due = head(waiting(m))
  if due then wake(m, math.max(due, place)) end
end
return out
