-- Put before every script. One primary holds all keys, so scripts build their names from KEYS[1], the prefix; merchant
-- (m) and reference (r) are validated before they get here and contain no colon. Times are milliseconds.
--
-- key                    type    content
-- shipment:<m>:<r>       hash    the record of a shipment
-- format                 string  version of the ledger's format
-- merchant_queue         zset    merchants by the time to serve them next
-- schedule:<m>           zset    due and parked shipments by due time
-- working:<m>            zset    leased shipments by the end of the lease
-- lease_tokens:<m>       hash    lease token of each leased shipment (see _leases.lua)
-- isolated               zset    shipments that have a child of their own, by the end of that claim
-- host_losses:<host>     zset    shipments lost with their worker, by time
-- claims:<child>         string  the child's last claim, to repeat a lost reply
-- failed:<m>             zset    failed shipments to deal with, by time
-- failed_causes:<m>      set     their causes; expires (see _failures.lua)
-- failed_cause:<m>:<c>   zset    those of one cause, by time; expires
-- orders_index:<day>     hash    order numbers and event ids of orders accepted that day (see accept.lua)
-- rejected               zset    rejected events to deal with, as reason:merchant:stream_id, by time
-- quiet_times            zset    parked shipments in their quiet time, by its end
-- near_deadline          zset    parked shipments by the time at which three quarters of their time are over
-- counts:<m>             hash    settled shipments and calls after an open one, all time
-- metrics                hash    counters for metrics, all time (see counters.py)
-- orders_by_minute:<n>   hash    accepted orders by merchant, of a minute; expires
-- activity:<n>           hash    calls and allocated shipments by merchant, of ten minutes; expires
-- rechecks               zset    allocated shipments whose carrier is read once more, by time
-- window:<m>             hash    the merchant's window and limits
-- rate:<m>               string  the next free slot of the merchant's calls per second
-- in_flight:<m>          zset    calls in flight by the time they end at the latest
-- slow_read:<m>          string  set while an API that is away gets no further read-back
-- blocked_until          hash    until when a merchant, an API or a host gets no call
-- breakers               set     open breakers
-- breaker:<name>         hash    state of a breaker
-- probe:<name>           string  the call that probes an open breaker
-- call_stats:<api>       hash    recent responses of an API
-- foreign:<host>         set     APIs of a host that something else answered for
-- throttled              zset    merchants by their last 429
-- paused                 hash    pauses of merchants, as JSON
-- on_hold                hash    merchants that a person has stopped: who, when and why, as JSON
-- resumed:<m>            set     digests of file and key that lifted a pause
-- denied:<api>           string  the first shipment that got a 403 in the last seconds
-- split:<m>:<step>       string  the lease token that splits a refused bulk call
-- merchant_files         hash    the last valid version of each merchant's file, as JSON
-- merchant_versions      hash    the digest of that version
-- merchant_file:<digest> string  an earlier version, as JSON
-- known_merchants        set     merchants that ever had an order
-- wakeups                list    wakes a child that listens
-- listening              zset    children that listen, by the time of their next claim
-- starting               string  set while a start message is on its way
-- server                 hash    run_id and epoch of the Redis server
-- ignored_events         string  events of other types, all time
-- lost_orders            string  orders trimmed or deleted before they were read, to deal with; expires
-- orders_counters:<s>    hash    counters of the orders stream, to find such orders
-- form:<name>            string  present once an operator has sent the form of this name; expires
-- held_alone:<entry>     set     intakes that ended while they held only this entry
-- heartbeats             hash    the last heartbeat of each process
-- last_sweep             string  time of the last sweep
-- cancelled              hash    shipments that a person has cancelled, <m>:<r>: who, when and why, as JSON
-- problems               hash    problems that have been logged, and since when
-- audit                  stream  actions of operators
local P = KEYS[1]

-- The same number as in `worker/ledger/format.py`.
local FORMAT = 2
local MERCHANT_QUEUE = P .. 'merchant_queue'

-- The window bounds a merchant's working shipments. It starts small, so that an API that hangs holds little, and grows
-- with every good response.
local FIRST_WINDOW, MAX_WINDOW = 200, 2000

local function record(m, r) return P .. 'shipment:' .. m .. ':' .. r end
local function schedule(m) return P .. 'schedule:' .. m end
local function working(m) return P .. 'working:' .. m end
local function lease_tokens(m) return P .. 'lease_tokens:' .. m end
local function in_flight_key(m) return P .. 'in_flight:' .. m end

-- Fields of blocked_until: m:<merchant> after a 429, u:<merchant> after a 503 with Retry-After, b:<api> and h:<host>
-- while a breaker is open. One hash, so that one command reads all that concerns a call.
local BLOCKED_UNTIL = P .. 'blocked_until'
local function host_of(api) return string.match(api, '^(.*)#') or api end
local function probe_key(name) return P .. 'probe:' .. name end

-- The server's time, and the score that puts a merchant at the end of the queue. The score has microseconds, so that
-- merchants of the same millisecond are not served by name, and lies a millisecond back, so that it is never in the
-- future.
local function clock()
  local t = redis.call('TIME')
  local now = t[1] * 1000
  return now + math.floor(t[2] / 1000), now + t[2] / 1000 - 1
end

-- The epoch counts changes of the server: another one took over (restart, failover), or its clock jumped. Such a server
-- may have lost its last second of writes, so a call without a trace may have been sent. Leases and records note
-- their epoch, as clocks of different epochs cannot be compared. `epoch_since`: when the epoch began. `due_before`: the
-- latest due time, by the old clock, that had come by then.
local SERVER = P .. 'server'
local MAX_CLOCK_STEP_MS = 1000

-- The epoch without a look for a change; a change not yet noted counts as none.
local function known_epoch() return tonumber(redis.call('HGET', SERVER, 'epoch')) or 0 end

local function start_epoch(now, epoch, due_before)
  redis.call('HSET', SERVER, 'epoch', epoch, 'epoch_since', now, 'due_before', due_before)
  return epoch, now, due_before
end

-- Looks for a change first, if the user has the right to. Returns epoch, epoch_since and due_before.
local function current_epoch(now)
  local info = redis.pcall('INFO', 'server')
  local known = redis.call('HMGET', SERVER, 'run_id', 'epoch', 'epoch_since', 'due_before')
  local epoch, run_id = tonumber(known[2]) or 0, known[1]
  if type(info) == 'string' then
    local at = string.find(info, 'run_id:', 1, true)
    run_id = string.match(info, '^run_id:(%w+)', at)
  end
  if known[1] == run_id then return epoch, tonumber(known[3]) or 0, tonumber(known[4]) or 0 end
  redis.call('HSET', SERVER, 'run_id', run_id)
  if not known[1] then return epoch, 0, 0 end
  return start_epoch(now, epoch + 1, now + MAX_CLOCK_STEP_MS)
end

-- Fails when the key is no stream. Lua does not roll back: what can fail is tried before the first write.
local function check_stream(key) redis.call('XLEN', key) end

-- What happened lately is kept in a hash per period, for the last hour.
local RECENT_S = 3600
local function count_recent(name, period_ms, now, numbers)
  if not next(numbers) then return end
  local key, is_new = P .. name .. ':' .. math.floor(now / period_ms), false
  for field, number in pairs(numbers) do
    if redis.call('HINCRBY', key, field, number) == number then is_new = true end
  end
  -- A new hash begins with a new field.
  if is_new then redis.call('EXPIRE', key, RECENT_S + math.ceil(period_ms / 500)) end
end

-- The score of the first member, or nil.
local function first_score(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

-- Serve a merchant no later than `at`.
local function queue_merchant(m, at)
  redis.call('ZADD', MERCHANT_QUEUE, 'LT', at, m)
end

-- Writes to one key are gathered and sent as one command at the end of the script: a command costs more than its
-- arguments. Reads within the script see the key as it was before.
local gathered = {}
local function gather(command, key, argument, another)
  local name = command .. key
  local one = gathered[name]
  if not one then
    one = { command, key, {} }
    gathered[name] = one
  end
  local arguments = one[3]
  local n = #arguments
  arguments[n + 1], arguments[n + 2] = argument, another
end

-- In portions, as Lua cannot unpack more at a time.
local function write_gathered()
  for _, one in pairs(gathered) do
    for i = 1, #one[3], 1000 do redis.call(one[1], one[2], unpack(one[3], i, math.min(i + 999, #one[3]))) end
  end
end
