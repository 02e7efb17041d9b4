-- What is learnt from how APIs did: breakers, merchants' windows, and how long nobody calls. Put before report.lua,
-- which notes every answer and judges them all at its end.
--
-- A merchant's window (most shipments at work) grows with every good answer and is halved by a 429, at most once a
-- second. A breaker opens on a share of bad answers; while it is open nobody calls, then one probe at a time may.
local now, place = clock()
local FIRST_OPEN_MS, MOST_OPEN_MS, BUCKET_MS, FEW, SHARE, REMEMBER_MS = 1000, 15000, 10000, 10, 0.5, 3600000
-- An ingress or a firewall is not put right within seconds; nor is an API that says itself how long it is away.
local MOST_FOREIGN_MS, MOST_AWAY_MS, MOST_THROTTLED_MS = 600000, 600000, 3600000
local apis, merchants = {}, {}

-- A place in flight, and the probe of a breaker that was open.
local function give_back(m, api, mine)
  redis.call('ZREM', on_wire(m), mine)
  local keys = { probe_key('u:' .. m), probe_key('b:' .. api), probe_key('h:' .. host_of(api)) }
  for i, holder in ipairs(redis.call('MGET', unpack(keys))) do
    if holder == mine then redis.call('DEL', keys[i]) end
  end
end

-- Nobody calls before then; never sooner than was said before.
local function hold_up(name, asked, most)
  if asked <= 0 then return end
  local at = now + math.min(asked, most)
  redis.call('HSET', NOT_BEFORE, name, math.max(at, tonumber(redis.call('HGET', NOT_BEFORE, name)) or 0))
end

-- How an API did in one request, and in how many ms it asked to be called again.
local function note(m, api, answer, purpose, asked)
  if answer == '' then return end
  apis[api] = apis[api] or { proper = 0, bad = 0, foreign = 0, good_at = {} }
  merchants[m] = merchants[m] or { good = 0, throttled = 0, denied = 0 }
  local did = apis[api]
  if answer == 'bad' or answer == 'foreign' then
    did.bad = did.bad + 1
    if answer == 'foreign' then did.foreign = did.foreign + 1 end
    hold_up('u:' .. m, asked, MOST_AWAY_MS)
  else
    did.proper = did.proper + 1
    if answer == 'good' then did.good_at[purpose] = true end
    merchants[m][answer] = merchants[m][answer] + 1
    if answer == 'throttled' then
      merchants[m].at_work = merchants[m].at_work or redis.call('ZCARD', working(m))
      hold_up('m:' .. m, asked, MOST_THROTTLED_MS)
    end
  end
end

-- What opens and closes breakers. A script makes its functions anew each time it runs, so these, which are rarely
-- needed, are made by one that is called only then.
local function breakers()
  local made = {}

  function made.open(name, foreign)
    local key = P .. 'breaker:' .. name
    local longer = 2 * (tonumber(redis.call('HGET', key, 'opened')) or FIRST_OPEN_MS / 2)
    local opened = math.min(foreign and MOST_FOREIGN_MS or MOST_OPEN_MS, longer)
    redis.call('HSET', key, 'until', now + opened, 'opened', opened, 'foreign', foreign and 1 or 0)
    redis.call('PEXPIRE', key, opened + REMEMBER_MS)
    redis.call('HSET', NOT_BEFORE, name, now + opened)
    redis.call('SADD', P .. 'breakers', name)
    redis.call('DEL', probe_key(name))
  end

  local function close_breaker(name)
    redis.call('DEL', P .. 'breaker:' .. name, probe_key(name))
    redis.call('HDEL', NOT_BEFORE, name)
    redis.call('SREM', P .. 'breakers', name)
  end

  -- The keys of a host that got foreign answers.
  local function struck(api) return P .. 'foreign:' .. host_of(api) end

  -- With foreign answers to several keys it is the host that something stands before: one probe speaks for all of them.
  function made.open_foreign(api, is_hosts)
    redis.call('SADD', struck(api), api)
    redis.call('PEXPIRE', struck(api), REMEMBER_MS)
    local all = redis.call('SMEMBERS', struck(api))
    if #all < 2 and not is_hosts then return made.open('b:' .. api, true) end
    for _, each in ipairs(all) do close_breaker('b:' .. each) end
    made.open('h:' .. host_of(api), true)
  end

  -- An answer while a breaker is open: before its time is over it says nothing new.
  function made.judge_open(api, name, till, did)
    if now < till then return end
    local is_hosts = string.sub(name, 1, 1) == 'h'
    if did.proper == 0 and did.foreign > 0 then return made.open_foreign(api, is_hosts) end
    if did.proper == 0 then return made.open(name, false) end
    close_breaker('b:' .. api)
    redis.call('SREM', struck(api), api)
    if not is_hosts then return end
    close_breaker(name)
    redis.call('DEL', struck(api))
  end

  return made
end

-- The breaker that is open, if one is: 'b:api' or 'h:host', and until when.
local function open_one(api)
  local names = { 'h:' .. host_of(api), 'b:' .. api }
  local untils = redis.call('HMGET', NOT_BEFORE, unpack(names))
  for i, name in ipairs(names) do
    if untils[i] then return name, tonumber(untils[i]) end
  end
end

-- The last ten to twenty seconds of an API, in two buckets; and when each kind of call was last answered well, as whose
-- own a 403 is, is judged by that.
local function count_answers(api, did)
  local key, bucket = P .. 'calls:' .. api, math.floor(now / BUCKET_MS)
  local known = redis.call('HMGET', key, 'bucket', 'good', 'bad', 'good before', 'bad before')
  local age = bucket - (tonumber(known[1]) or 0)
  local good, bad = tonumber(known[2]) or 0, tonumber(known[3]) or 0
  local good_before, bad_before = tonumber(known[4]) or 0, tonumber(known[5]) or 0
  if age == 1 then good_before, bad_before, good, bad = good, bad, 0, 0 end
  if age > 1 then good_before, bad_before, good, bad = 0, 0, 0, 0 end
  good, bad = good + did.proper, bad + did.bad
  local all_bad, all = bad + bad_before, good + bad + good_before + bad_before
  local opens = did.bad > 0 and all_bad >= FEW and all_bad / all >= SHARE
  if opens then good, bad, good_before, bad_before = 0, 0, 0, 0 end
  local says = { 'bucket', bucket, 'good', good, 'bad', bad, 'good before', good_before, 'bad before', bad_before }
  for purpose in pairs(did.good_at) do says[#says + 1], says[#says + 2] = purpose .. ' at', now end
  redis.call('HSET', key, unpack(says))
  if age ~= 0 then redis.call('PEXPIRE', key, REMEMBER_MS) end
  return opens
end

local function judge(api, did)
  local name, till = open_one(api)
  if name then
    breakers().judge_open(api, name, till, did)
  elseif count_answers(api, did) then
    if did.foreign > 0 then breakers().open_foreign(api, false) else breakers().open('b:' .. api, false) end
  end
end

local function steer(m, did)
  local key = P .. 'pace:' .. m
  local known = redis.call('HMGET', key, 'window', 'turned', 'at')
  local window, turned = tonumber(known[1]) or FIRST_WINDOW, tonumber(known[2])
  if did.throttled > 0 then
    if now - (tonumber(known[3]) or 0) < 1000 then return end
    window = math.max(1, math.min(window, did.at_work) / 2)
    redis.call('HSET', key, 'window', window, 'turned', window, 'at', now)
    redis.call('ZADD', P .. 'slowed', now, m)
  elseif did.good > 0 and window < MOST_WINDOW then
    -- Doubles with every round of answers up to where it was throttled last, then grows by one a round.
    local grown = (not turned or window < turned) and did.good or did.good / window
    redis.call('HSET', key, 'window', math.min(MOST_WINDOW, window + grown))
  end
end

-- The API is back: it had said how long it would be away.
local function is_back(m)
  local till = tonumber(redis.call('HGET', NOT_BEFORE, 'u:' .. m)) or 0
  if till > 0 and till <= now then redis.call('HDEL', NOT_BEFORE, 'u:' .. m) end
end

local function judge_all()
  for api, did in pairs(apis) do judge(api, did) end
  local may_be_back = next(merchants) and redis.call('HLEN', NOT_BEFORE) > 0
  for m, did in pairs(merchants) do
    steer(m, did)
    if may_be_back and did.good + did.throttled + did.denied > 0 then is_back(m) end
  end
end
