-- What operators have ordered: merchants on hold, cancelled shipments. Put before the scripts that must obey it. Nearly
-- always there is nothing, so that one command answers for the whole script.
local ON_HOLD, CANCELLED = P .. 'on_hold', P .. 'cancelled'
local has_orders = redis.call('EXISTS', ON_HOLD, CANCELLED) > 0
local function is_on_hold(m) return has_orders and redis.call('HEXISTS', ON_HOLD, m) == 1 end
local function cancelled_by(m, r) return has_orders and redis.call('HGET', CANCELLED, m .. ':' .. r) or '' end
