-- What responses teach: circuit breakers, windows and Retry-After. Put before report.lua, which counts each response and
-- judges them at the end.
--
-- A merchant's window grows with every good response and is halved by a 429, at most once a second. A breaker opens on a
-- share of bad responses; an open one blocks calls, then one probe at a time may call.
local now, turn = clock()
local FIRST_OPEN_MS, MAX_OPEN_MS, BUCKET_MS, MIN_RESPONSES, BAD_SHARE, KEEP_MS = 1000, 15000, 10000, 10, 0.5, 3600000
-- An ingress or a firewall takes longer than seconds to fix; so does an API that sends a long Retry-After.
local MAX_FOREIGN_MS, MAX_AWAY_MS, MAX_THROTTLED_MS = 600000, 600000, 3600000
local apis, merchants_seen = {}, {}

-- Releases a call's slot in flight, and the probe if it was one.
local function release_slot(m, api, call)
  redis.call('ZREM', in_flight_key(m), call)
  local keys = { probe_key('u:' .. m), probe_key('b:' .. api), probe_key('h:' .. host_of(api)) }
  for i, holder in ipairs(redis.call('MGET', unpack(keys))) do
    if holder == call then redis.call('DEL', keys[i]) end
  end
end

-- Never shortens a block.
local function block_until(name, wait_ms, max_ms)
  if wait_ms <= 0 then return end
  local at = now + math.min(wait_ms, max_ms)
  redis.call('HSET', BLOCKED_UNTIL, name, math.max(at, tonumber(redis.call('HGET', BLOCKED_UNTIL, name)) or 0))
end

local function count_response(m, api, signal, purpose, retry_after_ms)
  if signal == '' then return end
  apis[api] = apis[api] or { proper = 0, bad = 0, foreign = 0, good_purposes = {} }
  merchants_seen[m] = merchants_seen[m] or { good = 0, throttled = 0, denied = 0 }
  local of_api = apis[api]
  if signal == 'bad' or signal == 'foreign' then
    of_api.bad = of_api.bad + 1
    if signal == 'foreign' then of_api.foreign = of_api.foreign + 1 end
    block_until('u:' .. m, retry_after_ms, MAX_AWAY_MS)
  else
    of_api.proper = of_api.proper + 1
    if signal == 'good' then of_api.good_purposes[purpose] = true end
    merchants_seen[m][signal] = merchants_seen[m][signal] + 1
    if signal == 'throttled' then
      merchants_seen[m].working = merchants_seen[m].working or redis.call('ZCARD', working(m))
      block_until('m:' .. m, retry_after_ms, MAX_THROTTLED_MS)
    end
  end
end

-- Opens and closes breakers. Lua defines all functions of a script on every call, so these, which are rarely needed, are
-- defined by one that is called only then.
local function breakers()
  local made = {}

  function made.open(name, is_foreign)
    local key = P .. 'breaker:' .. name
    local longer = 2 * (tonumber(redis.call('HGET', key, 'opened')) or FIRST_OPEN_MS / 2)
    local opened = math.min(is_foreign and MAX_FOREIGN_MS or MAX_OPEN_MS, longer)
    redis.call('HSET', key, 'until', now + opened, 'opened', opened, 'foreign', is_foreign and 1 or 0)
    redis.call('HSETNX', key, 'since', now)
    redis.call('PEXPIRE', key, opened + KEEP_MS)
    redis.call('HSET', BLOCKED_UNTIL, name, now + opened)
    redis.call('SADD', P .. 'breakers', name)
    redis.call('DEL', probe_key(name))
  end

  local function close(name)
    redis.call('DEL', P .. 'breaker:' .. name, probe_key(name))
    redis.call('HDEL', BLOCKED_UNTIL, name)
    redis.call('SREM', P .. 'breakers', name)
  end

  local function foreign_key(api) return P .. 'foreign:' .. host_of(api) end

  -- If several APIs (keys) of a host get foreign responses, something in front of the host sends them: one probe for all.
  function made.open_foreign(api, is_of_host)
    redis.call('SADD', foreign_key(api), api)
    redis.call('PEXPIRE', foreign_key(api), KEEP_MS)
    local all = redis.call('SMEMBERS', foreign_key(api))
    if #all < 2 and not is_of_host then return made.open('b:' .. api, true) end
    for _, each in ipairs(all) do close('b:' .. each) end
    made.open('h:' .. host_of(api), true)
  end

  -- A response while a breaker is open decides nothing before the time of the breaker is over.
  function made.judge_open(api, name, till, of_api)
    if now < till then return end
    local is_of_host = string.sub(name, 1, 1) == 'h'
    if of_api.proper == 0 and of_api.foreign > 0 then return made.open_foreign(api, is_of_host) end
    if of_api.proper == 0 then return made.open(name, false) end
    close('b:' .. api)
    redis.call('SREM', foreign_key(api), api)
    if not is_of_host then return end
    close(name)
    redis.call('DEL', foreign_key(api))
  end

  return made
end

-- The open breaker that concerns an API, 'b:<api>' or 'h:<host>', and until when.
local function open_breaker(api)
  local names = { 'h:' .. host_of(api), 'b:' .. api }
  local untils = redis.call('HMGET', BLOCKED_UNTIL, unpack(names))
  for i, name in ipairs(names) do
    if untils[i] then return name, tonumber(untils[i]) end
  end
end

-- Counts the last ten to twenty seconds of an API in two buckets, and notes when each purpose last got a good response,
-- by which the owner of a 403 is judged. Returns whether a breaker opens.
local function count_in_buckets(api, of_api)
  local key, bucket = P .. 'call_stats:' .. api, math.floor(now / BUCKET_MS)
  local known = redis.call('HMGET', key, 'bucket', 'good', 'bad', 'good_previous', 'bad_previous')
  local age = bucket - (tonumber(known[1]) or 0)
  local good, bad = tonumber(known[2]) or 0, tonumber(known[3]) or 0
  local good_previous, bad_previous = tonumber(known[4]) or 0, tonumber(known[5]) or 0
  if age == 1 then good_previous, bad_previous, good, bad = good, bad, 0, 0 end
  if age > 1 then good_previous, bad_previous, good, bad = 0, 0, 0, 0 end
  good, bad = good + of_api.proper, bad + of_api.bad
  local all_bad, all = bad + bad_previous, good + bad + good_previous + bad_previous
  local opens = of_api.bad > 0 and all_bad >= MIN_RESPONSES and all_bad / all >= BAD_SHARE
  if opens then good, bad, good_previous, bad_previous = 0, 0, 0, 0 end
  local fields =
    { 'bucket', bucket, 'good', good, 'bad', bad, 'good_previous', good_previous, 'bad_previous', bad_previous }
  for purpose in pairs(of_api.good_purposes) do fields[#fields + 1], fields[#fields + 2] = purpose .. '_at', now end
  redis.call('HSET', key, unpack(fields))
  if age ~= 0 then redis.call('PEXPIRE', key, KEEP_MS) end
  return opens
end

local function judge(api, of_api)
  local name, till = open_breaker(api)
  if name then
    breakers().judge_open(api, name, till, of_api)
  elseif count_in_buckets(api, of_api) then
    if of_api.foreign > 0 then breakers().open_foreign(api, false) else breakers().open('b:' .. api, false) end
  end
end

local function adjust_window(m, seen)
  local key = P .. 'window:' .. m
  local known = redis.call('HMGET', key, 'window', 'turned', 'at')
  local window, turned = tonumber(known[1]) or FIRST_WINDOW, tonumber(known[2])
  if seen.throttled > 0 then
    if now - (tonumber(known[3]) or 0) < 1000 then return end
    window = math.max(1, math.min(window, seen.working) / 2)
    redis.call('HSET', key, 'window', window, 'turned', window, 'at', now)
    redis.call('ZADD', P .. 'throttled', now, m)
  elseif seen.good > 0 and window < MAX_WINDOW then
    -- Doubles with every round of responses up to where it was last throttled, then grows by one a round.
    local growth = (not turned or window < turned) and seen.good or seen.good / window
    redis.call('HSET', key, 'window', math.min(MAX_WINDOW, window + growth))
  end
end

-- The API responds again after the time it named.
local function unblock(m)
  local till = tonumber(redis.call('HGET', BLOCKED_UNTIL, 'u:' .. m)) or 0
  if till > 0 and till <= now then redis.call('HDEL', BLOCKED_UNTIL, 'u:' .. m) end
end

local function judge_all()
  for api, of_api in pairs(apis) do judge(api, of_api) end
  local some_are_blocked = next(merchants_seen) and redis.call('HLEN', BLOCKED_UNTIL) > 0
  for m, seen in pairs(merchants_seen) do
    adjust_window(m, seen)
    if some_are_blocked and seen.good + seen.throttled + seen.denied > 0 then unblock(m) end
  end
end
