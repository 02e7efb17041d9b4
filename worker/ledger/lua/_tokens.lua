-- Who holds a shipment, and what is known of holders who were lost. Put before the scripts that take, ask or report.
--
-- A token is 'phase:id', and once it was taken 'phase:id:changes:called'. The phase: q = held for the next link of
-- a chain; r = taken; c = a call for an allocation may be on its way, since `called` in ms. `changes`: how often the
-- server had changed when it was taken. An id is 'host.unique', with '.a' at its end when its child owns nothing else.
local function parse(token) return string.match(token, '^(%a):([^:]+):?(%d*):?(%d*)') end
local function is_alone(id) return string.sub(id, -2) == '.a' end
local function host_part(id) return string.match(id, '^([^.]*)') end

-- The tokens, by merchant and reference, of the shipments that ARGV names from `first` on, one every `size` arguments:
-- read in one command for each merchant, at the beginning of a script.
local function read_tokens(first, size)
  local asked, found = {}, {}
  for i = first, #ARGV, size do
    local m = ARGV[i]
    local of = asked[m]
    if not of then
      of = {}
      asked[m] = of
    end
    of[#of + 1] = ARGV[i + 1]
  end
  for m, references in pairs(asked) do
    found[m] = {}
    for i = 1, #references, 1000 do
      local some = redis.call('HMGET', tokens(m), unpack(references, i, math.min(i + 999, #references)))
      for j, token in ipairs(some) do found[m][references[i + j - 1]] = token end
    end
  end
  return found
end

-- After how many changes of the server the task took the shipment, if this is its token.
local function lease_of(token, id)
  if not token or string.sub(token, 3, #id + 2) ~= id then return nil end
  local _, holder, changes = parse(token)
  return holder == id and (tonumber(changes) or 0) or nil
end

-- After so many losses in the company of other shipments one gets a child of its own. Who has one, 'merchant:reference'
-- by the end of its first lease: a part of the children at the most, so that others are worked on as well.
local COMPANY_LOSSES = 2
local ALONE = P .. 'alone'
local function must_be_alone(company_lost, lost)
  return (tonumber(company_lost) or 0) >= COMPANY_LOSSES or (tonumber(lost) or 0) > 0
end

-- A lease that ended although its child lives on, as it could not renew it, is no loss of a worker.
local function still_alive(m, r, id)
  local key = record(m, r)
  if redis.call('HGET', key, 'lost_token') ~= id then return end
  redis.call('HDEL', key, 'lost_token', 'lost_at')
  if not is_alone(id) then redis.call('HINCRBY', key, 'company_lost', -1) end
end
