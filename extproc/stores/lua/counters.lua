-- What every script of the counters shares. It is put before each of them when they are loaded.
--
-- KEYS[1] is `{NAMESPACE}leases`; every other key begins with the same hash tag:
--   c:COUNTER   string   the state of a counter, packed (see SETTLED … FIRST)
--   r:COUNTER   list     the steps of a rolling counter but its last one, oldest first, as `STEP:AMOUNT`
--   u:COUNTER   set      the exchanges on a counter that are not booked
--   s:SCOPE     zset     the counters of a scope, by the moment from which on nobody asks for them
--   x:EVENT     string   an exchange, packed (see TOKENS … LIMITS), or `booked`
--   d:EVENT     string   its draft
--   leases      zset     exchanges that are not booked, by the end of their lease
--
-- Numbers are integers up to 2^53 - 1, which Lua's doubles hold exactly. They become text only by `int`.

local LEASES = KEYS[1]
local TAG = string.sub(LEASES, 1, -7)
local COUNTER, STEPS_OF, USERS_OF, SCOPE_OF = TAG .. 'c:', TAG .. 'r:', TAG .. 'u:', TAG .. 's:'
local EXCHANGE, DRAFT = TAG .. 'x:', TAG .. 'd:'

local HOUR, DAY = 3600000, 86400000
local LONG = 35 * DAY
-- How far clocks may differ: for so long somebody may ask for a window that has ended.
local LATE = 300000
local STEPS = ROLLING_MS / STEP_MS

-- How a counter is named in what the caller sends: its name, its scope, the end of its window (0 where it has none).
local NAME, SCOPE, UNTIL = 1, 2, 3
local ROLLING, GAUGE = -1, -2

-- A counter. What settled exchanges used that are not booked is `FRESH` where `SETTLED` has it too, `KEPT` where it
-- stands beside it. `SEED` is the token with which the settled part was read, '' while it is unknown; then `SETTLED` is
-- what was booked since somebody began to read, at `BEGUN`, and left the `TOKEN`. `USERS` is how many exchanges on it
-- are not booked. `LAST` and `AMOUNT` are the newest step of a rolling counter, `FIRST` is the oldest; 0 for none.
local SETTLED, HELD, KEPT, FRESH, SEED, TOKEN, BEGUN, INDEXED, USERS = 1, 2, 3, 4, 5, 6, 7, 8, 9
local LAST, AMOUNT, FIRST = 10, 11, 12

-- An exchange that is not booked. `SEEDS` are those of its counters when it was counted on their settled part;
-- `REQUEST` is whether its request is on the counters of requests. A limit is the position of its counter, its
-- maximum, whether it refuses.
local TOKENS, NANOS, IS_SETTLED, OPENED, MOMENT, REQUEST, COUNTERS, SEEDS, LIMITS = 1, 2, 3, 4, 5, 6, 7, 8, 9

local function int(number)
  return string.format('%.0f', number)
end

local function clock(given)
  if given then
    return given
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Which of these a counter counts. Its name begins with its measure.
local function share(name, requests, tokens, parallel, nanos)
  local first = string.byte(name)
  if first == 116 then
    return tokens
  elseif first == 115 then
    return nanos
  elseif first == 114 then
    return requests
  end
  return parallel
end

local function new(counter)
  return { 0, 0, 0, 0, counter[UNTIL] == GAUGE and 'gauge' or '', '', 0, 0, 0, 0, 0, 0 }
end

local function step_and_amount(text)
  local step, amount = string.match(text, '(%d+):(%d+)')
  return tonumber(step), tonumber(amount)
end

local function take(state, field, amount)
  state[field] = math.max(0, state[field] - amount)
end

local function empty(name, state)
  state[SETTLED], state[LAST], state[AMOUNT], state[FIRST] = 0, 0, 0, 0
  redis.call('DEL', STEPS_OF .. name)
end

-- Forget what the ledger said, and who is reading it. What is not booked stays.
local function unseed(name, state)
  state[KEPT] = state[KEPT] + state[FRESH]
  state[FRESH], state[SEED], state[TOKEN] = 0, '', ''
  empty(name, state)
end

-- Drop the steps that ended ROLLING_MS ago. Whether there were any.
local function forget(name, state, now)
  local oldest = math.floor(now / STEP_MS) - STEPS
  if state[LAST] == 0 or state[FIRST] >= oldest then
    return false
  end
  local steps = STEPS_OF .. name
  if state[LAST] < oldest then
    empty(name, state)
    return true
  end
  repeat
    local found, gone = redis.call('LRANGE', steps, 0, 63), 0
    if #found == 0 then
      -- Redis has thrown the steps out: what the counter knew is worth nothing.
      unseed(name, state)
      return true
    end
    state[FIRST] = state[LAST]
    for _, text in ipairs(found) do
      local step, amount = step_and_amount(text)
      if step >= oldest then
        state[FIRST] = step
        break
      end
      gone = gone + 1
      take(state, SETTLED, amount)
    end
    redis.call('LTRIM', steps, gone, -1)
  until gone < 64 or redis.call('EXISTS', steps) == 0
  return true
end

-- The states of these counters, false where there is none, and which of them have changed.
local function load(counters, now)
  local keys, states, changed = {}, {}, {}
  for i, counter in ipairs(counters) do
    keys[i] = COUNTER .. counter[NAME]
  end
  local found = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
  for i, counter in ipairs(counters) do
    local state = found[i] and cmsgpack.unpack(found[i])
    if state and counter[UNTIL] == ROLLING then
      changed[i] = forget(counter[NAME], state, now)
    end
    states[i] = state or counter[UNTIL] == GAUGE and new(counter)
  end
  return states, changed
end

-- Write the counter into the list of its scope, until it has surely expired or nobody asks for it any more. Done
-- once a day for each, so Redis's own clock is asked.
local function index(counter, state, life)
  local scope, now = SCOPE_OF .. counter[SCOPE], clock()
  local gone = counter[UNTIL] > 0 and counter[UNTIL] + LATE or now + life + 2 * DAY
  state[INDEXED] = now
  redis.call('PEXPIRE', USERS_OF .. counter[NAME], LONG)
  if gone > now then
    redis.call('ZREMRANGEBYSCORE', scope, '-inf', int(now))
    redis.call('ZADD', scope, int(gone), counter[NAME])
    if redis.call('PTTL', scope) < gone - now then
      redis.call('PEXPIRE', scope, int(gone - now))
    end
  end
end

local function save(counter, state, now)
  local life = HOUR
  if counter[UNTIL] >= 0 then
    life = counter[UNTIL] == 0 and LONG or math.max(HOUR, counter[UNTIL] + DAY - now)
  end
  if state[INDEXED] + DAY < now and counter[UNTIL] ~= GAUGE then
    index(counter, state, life)
  end
  redis.call('SET', COUNTER .. counter[NAME], cmsgpack.pack(state), 'PX', int(life))
end

local function save_changed(counters, states, changed, now)
  for i, counter in ipairs(counters) do
    if changed[i] then
      save(counter, states[i], now)
    end
  end
end

-- A step before the last one: the moments of what was kept, or of clocks that differ, come in any order.
local function use_earlier(steps, state, step, amount)
  redis.call('PEXPIRE', steps, HOUR)
  state[FIRST] = math.min(state[FIRST], step)
  for i, text in ipairs(redis.call('LRANGE', steps, 0, -1)) do
    local there, already = step_and_amount(text)
    if there == step then
      redis.call('LSET', steps, i - 1, int(step) .. ':' .. int(already + amount))
      return
    elseif there > step then
      redis.call('LINSERT', steps, 'BEFORE', text, int(step) .. ':' .. int(amount))
      return
    end
  end
  redis.call('RPUSH', steps, int(step) .. ':' .. int(amount))
  redis.call('PEXPIRE', steps, HOUR)
end

-- Add what was used at that moment to the settled part.
local function use(counter, state, amount, moment, now)
  if counter[UNTIL] ~= ROLLING then
    state[SETTLED] = state[SETTLED] + amount
    return
  end
  local step, steps = math.floor(moment / STEP_MS), STEPS_OF .. counter[NAME]
  if amount == 0 or step < math.floor(now / STEP_MS) - STEPS then
    return
  end
  state[SETTLED] = state[SETTLED] + amount
  if state[LAST] == 0 then
    state[LAST], state[AMOUNT], state[FIRST] = step, amount, step
  elseif state[LAST] == step then
    state[AMOUNT] = state[AMOUNT] + amount
  elseif state[LAST] < step then
    redis.call('RPUSH', steps, int(state[LAST]) .. ':' .. int(state[AMOUNT]))
    redis.call('PEXPIRE', steps, HOUR)
    state[LAST], state[AMOUNT] = step, amount
  else
    use_earlier(steps, state, step, amount)
  end
end

-- An exchange has used so much, and is not booked.
local function settle(counter, state, used, now)
  if state[SEED] == '' then
    state[KEPT] = state[KEPT] + used
  else
    use(counter, state, used, now, now)
    state[FRESH] = state[FRESH] + used
  end
end

-- Forget what was settled under this seed. Whether the settled part has it.
local function drop(state, used, seed)
  local there = seed ~= '' and seed == state[SEED]
  take(state, there and FRESH or KEPT, used)
  return there
end

-- When what was asked fits, -1 where waiting does not help.
local function frees_at(counter, state, maximum, asked)
  if asked > maximum or state[SETTLED] + asked <= maximum then
    return -1
  elseif counter[UNTIL] ~= ROLLING then
    return counter[UNTIL] > 0 and counter[UNTIL] or -1
  end
  local excess, from = state[SETTLED] + state[HELD] + state[KEPT] + asked - maximum, 0
  while true do
    local found = redis.call('LRANGE', STEPS_OF .. counter[NAME], from, from + 63)
    for _, text in ipairs(found) do
      local step, amount = step_and_amount(text)
      excess = excess - amount
      if excess <= 0 then
        return (step + STEPS + 1) * STEP_MS
      end
    end
    if #found < 64 then
      return excess <= state[AMOUNT] and (state[LAST] + STEPS + 1) * STEP_MS or -1
    end
    from = from + 64
  end
end

-- The reply to a question for room: {1, levels, positions over} or {2, position, settled, held, asked, frees at}.
-- Of whom nothing is asked, or of whom nothing is known, is not full.
local function measured(limits, counters, states, requests, tokens, parallel, nanos)
  local levels, over = {}, {}
  for position, limit in ipairs(limits) do
    local counter, state, maximum = counters[limit[1]], states[limit[1]] or new(counters[limit[1]]), limit[2]
    local settled, held = state[SEED] ~= '' and state[SETTLED] or 0, state[HELD] + state[KEPT]
    local asked = share(counter[NAME], requests, tokens, parallel, nanos)
    if asked > 0 and state[SEED] ~= '' and settled + held + asked > maximum then
      if limit[3] == 1 then
        return { 2, position - 1, settled, held, asked, frees_at(counter, state, maximum, asked) }
      end
      over[#over + 1] = position - 1
    end
    levels[2 * position - 1], levels[2 * position] = settled, held
  end
  return { 1, levels, over }
end

-- Forget what the ledger said of the counters of a scope, where `concerns` says so.
local function unseed_scope(scope, concerns)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', SCOPE_OF .. scope, int(clock()), '+inf')) do
    local found = concerns(name) and redis.call('GET', COUNTER .. name)
    local state = found and cmsgpack.unpack(found)
    if state and (state[SEED] ~= '' or state[TOKEN] ~= '') then
      unseed(name, state)
      redis.call('SET', COUNTER .. name, cmsgpack.pack(state), 'KEEPTTL')
    end
  end
end

-- The exchange, false where it is unknown or booked, and whether it is known at all.
local function find(event)
  local found = redis.call('GET', EXCHANGE .. event)
  if not found or found == 'booked' then
    return false, found ~= false
  end
  return cmsgpack.unpack(found), true
end

local function write(event, exchange, deadline)
  redis.call('SET', EXCHANGE .. event, cmsgpack.pack(exchange), 'PX', LONG)
  redis.call('ZADD', LEASES, int(deadline), event)
  redis.call('PEXPIRE', LEASES, LONG)
end

-- Count an exchange on its counters and remember it. `request` is 0 where its request is not to be counted again.
local function open(event, tokens, nanos, counters, limits, states, draft, request, now)
  local seeds = {}
  for i, counter in ipairs(counters) do
    local state, held = states[i] or new(counter), share(counter[NAME], false, tokens, 1, nanos)
    seeds[i] = request == 1 and state[SEED] or ''
    if state[SEED] == '' then
      -- Whoever reads the ledger for this counter does not know of this exchange.
      state[TOKEN] = ''
    end
    if held then
      state[HELD] = state[HELD] + held
    elseif request == 1 then
      settle(counter, state, 1, now)
    end
    if counter[UNTIL] ~= GAUGE then
      redis.call('SADD', USERS_OF .. counter[NAME], event)
      if state[USERS] == 0 then
        redis.call('PEXPIRE', USERS_OF .. counter[NAME], LONG)
      end
      state[USERS] = state[USERS] + 1
    end
    save(counter, state, now)
  end
  if draft ~= '' then
    redis.call('SET', DRAFT .. event, draft, 'PX', LONG)
  end
  write(event, { tokens, nanos, 0, now, now, request, counters, seeds, limits }, now + LEASE_MS)
end

-- Hold so much more.
local function hold(exchange, states, tokens, nanos, now)
  exchange[TOKENS], exchange[NANOS] = exchange[TOKENS] + tokens, exchange[NANOS] + nanos
  for i, counter in ipairs(exchange[COUNTERS]) do
    local state = states[i] or new(counter)
    state[HELD] = state[HELD] + share(counter[NAME], 0, tokens, 0, nanos)
    save(counter, state, now)
  end
end

-- Whether a rolling window may still see that moment.
local function recent(moment, now)
  return now < moment + ROLLING_MS + STEP_MS
end
