"""What the Redis ledger does, each in one step: Lua, which Redis runs while nobody else does anything.

Keys, under one prefix P (KEYS[1]):
  P next              the last id                      P job:ID            a job's fields
  P ready:KIND        sorted by urgency: may begin     P body:ID           what it gave back; lapses
  P later:KIND        sorted by when it may begin      P since:KIND        the same, by when it was asked for
  P waiting:SAME      ids that are queued              P running           SAME → the id that runs
  P held              worker's thread → the id         P dead              SAME → the id of the dead letter
  P all, P of:N       every id, and a project's        P ended:N           by when they ended
  P seen              "lane worker", by when it was there
SAME is a job's kind, project and key. Times are the server's, so that all machines go by one clock.
"""

from __future__ import annotations

_LIBRARY = """
local P, now = KEYS[1], tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1e6
end
local call = redis.call
local function job(id) return P .. 'job:' .. id end
local function get(id, ...) return unpack(call('HMGET', job(id), ...)) end
local function set(id, ...) call('HSET', job(id), ...) end
local function padded(id) return string.format('%016d', id) end
local function plain(member) return string.format('%d', tonumber(member)) end
local function exact(number) return string.format('%.6f', number) end

local function line_up(id)
  local kind, priority = get(id, 'kind', 'priority')
  call('ZREM', P .. 'later:' .. kind, padded(id))
  call('ZREM', P .. 'since:' .. kind, padded(id))
  call('ZADD', P .. 'ready:' .. kind, -tonumber(priority), padded(id))
end

local function queue(id, delay)
  local kind, same = get(id, 'kind', 'same')
  call('SADD', P .. 'waiting:' .. same, id)
  set(id, 'state', 'queued', 'worker', '', 'due', exact(now + delay))
  if delay <= 0 then return line_up(id) end
  call('ZADD', P .. 'later:' .. kind, exact(now + delay), padded(id))
  call('ZADD', P .. 'since:' .. kind, exact(now), padded(id))
end

local function unqueue(id)
  local kind, same = get(id, 'kind', 'same')
  call('SREM', P .. 'waiting:' .. same, id)
  for _, line in ipairs({'ready:', 'later:', 'since:'}) do call('ZREM', P .. line .. kind, padded(id)) end
end

local function mine(id, worker, attempts, state)
  local its_state, its_worker, its_attempts = get(id, 'state', 'worker', 'attempts')
  return its_state == state and its_worker == worker and its_attempts == attempts
end

local function leave(id)
  local worker, same = get(id, 'worker', 'same')
  call('HDEL', P .. 'held', worker)
  call('HDEL', P .. 'running', same)
end

local function drop(id, project)
  call('DEL', job(id), P .. 'body:' .. id)
  call('ZREM', P .. 'ended:' .. project, id)
  call('ZREM', P .. 'all', id)
  call('ZREM', P .. 'of:' .. project, id)
end

local function ended(id, state, message)
  local project = get(id, 'project')
  set(id, 'state', state, 'message', message, 'finished', exact(now))
  call('ZADD', P .. 'ended:' .. project, exact(now), id)
end

local function finish(id, state, message)
  local project, same = get(id, 'project', 'same')
  ended(id, state, message)
  if state == 'done' then set(id, 'progress', '1') end
  if state ~= 'cancelled' then
    local dead = call('HGET', P .. 'dead', same)
    call('HDEL', P .. 'dead', same)
    if dead and dead ~= id then ended(dead, 'cancelled', get(dead, 'message') .. '; job ' .. id .. ' did it later') end
  end
  if state == 'failed' then
    call('HSET', P .. 'dead', same, id)
    call('ZREM', P .. 'ended:' .. project, id)
  end
  local line = P .. 'ended:' .. project
  local over = call('ZCARD', line) - KEPT
  if over > 0 then
    local old = call('ZRANGEBYSCORE', line, '-inf', exact(now - KEPT_S), 'LIMIT', 0, math.min(over, 10))
    for _, gone in ipairs(old) do drop(gone, project) end
  end
end

local FIELDS = {'kind', 'project', 'state', 'progress', 'message', 'attempts', 'created', 'finished', 'priority', 'key',
  'worker', 'started'}
local function listed(ids)
  local rows = {}
  for _, id in ipairs(ids) do
    local row = call('HMGET', job(id), unpack(FIELDS))
    if row[1] then
      table.insert(row, 1, id)
      table.insert(rows, row)
    end
  end
  return rows
end
"""

_PUT = """
local kind, project, delay, priority, key, payload = unpack(ARGV, 2)
delay = tonumber(delay)
local same = kind .. '\\31' .. project .. '\\31' .. key
local first
for _, id in ipairs(call('SMEMBERS', P .. 'waiting:' .. same)) do
  if not first or tonumber(id) < tonumber(first) then first = id end
end
if not first then
  local id = plain(call('INCR', P .. 'next'))
  set(id, 'kind', kind, 'project', project, 'key', key, 'same', same, 'priority', priority, 'created', exact(now),
    'progress', '0', 'message', '', 'attempts', '0', 'payload', payload)
  call('ZADD', P .. 'all', id, id)
  call('ZADD', P .. 'of:' .. project, id, id)
  queue(id, delay)
  return id
end
local before, due, attempts = get(first, 'priority', 'due', 'attempts')
if tonumber(priority) > tonumber(before) then
  set(first, 'priority', priority)
  if call('ZSCORE', P .. 'ready:' .. kind, padded(first)) then line_up(first) end
end
if attempts == '0' and now + delay < tonumber(due) then
  unqueue(first)
  queue(first, delay)
end
return first
"""

_CLAIM = """
local worker, id = ARGV[2], call('HGET', P .. 'held', ARGV[2])
if not id then
  local best
  for at = 3, #ARGV do
    local kind = ARGV[at]
    local due = call('ZRANGEBYSCORE', P .. 'later:' .. kind, '-inf', exact(now), 'LIMIT', 0, 100)
    for _, member in ipairs(due) do line_up(plain(member)) end
    due = call('ZRANGEBYSCORE', P .. 'since:' .. kind, '(' .. exact(now), '+inf', 'LIMIT', 0, 100)
    for _, member in ipairs(due) do line_up(plain(member)) end
    local place = 0
    while true do
      local member, score = unpack(call('ZRANGE', P .. 'ready:' .. kind, place, place, 'WITHSCORES'))
      if not member then break end
      if call('HEXISTS', P .. 'running', (get(plain(member), 'same'))) == 0 then
        score = tonumber(score)
        if not best or score < best[1] or (score == best[1] and member < best[2]) then best = {score, member} end
        break
      end
      place = place + 1
    end
  end
  if not best then return false end
  id = plain(best[2])
  unqueue(id)
  call('HINCRBY', job(id), 'attempts', 1)
  set(id, 'state', 'running', 'worker', worker, 'started', exact(now), 'progress', '0', 'message', '', 'beats', '0')
  call('HDEL', job(id), 'stop')
  call('HSET', P .. 'held', worker, id)
  call('HSET', P .. 'running', (get(id, 'same')), id)
end
return {listed({id})[1], (get(id, 'payload'))}
"""

_BEAT = """
local id, worker, attempts, progress, message = unpack(ARGV, 2)
if not mine(id, worker, attempts, 'running') then return 'lost' end
call('HINCRBY', job(id), 'beats', 1)
set(id, 'progress', progress, 'message', message)
return get(id, 'stop') and 'stop' or 'go'
"""

_FINISH = """
local id, worker, attempts, state, message, body = unpack(ARGV, 2)
if not mine(id, worker, attempts, 'running') then return mine(id, worker, attempts, state) and 1 or 0 end
leave(id)
finish(id, state, message)
if body ~= '' then call('SET', P .. 'body:' .. id, body, 'EX', KEPT_S) end
return 1
"""

_REQUEUE = """
local id, worker, attempts, message, delay, less = unpack(ARGV, 2)
if not mine(id, worker, attempts, 'running') then return 0 end
leave(id)
if get(id, 'stop') then
  finish(id, 'cancelled', 'cancelled')
  return 1
end
set(id, 'attempts', tonumber(attempts) - tonumber(less))
set(id, 'message', message)
queue(id, tonumber(delay))
return 1
"""

_RUNNING = """
local rows = {}
for _, id in ipairs(call('HVALS', P .. 'running')) do
  local attempts, beats = get(id, 'attempts', 'beats')
  table.insert(rows, {id, attempts, beats})
end
return rows
"""

_RELEASE = """
local id, attempts, beats, most = unpack(ARGV, 2)
local state, its_attempts, its_beats, stop = get(id, 'state', 'attempts', 'beats', 'stop')
if state ~= 'running' or its_attempts ~= attempts or its_beats ~= beats then return 0 end
leave(id)
if stop then
  finish(id, 'cancelled', 'cancelled')
elseif tonumber(attempts) >= tonumber(most) then
  finish(id, 'failed', 'its worker was gone in the middle of it, ' .. attempts .. ' times')
else
  set(id, 'message', 'again: its worker was gone')
  queue(id, 0)
end
return 1
"""

_JOB = """
local id = ARGV[2]
return {listed({id})[1] or false, get(id, 'payload') or '', call('GET', P .. 'body:' .. id) or ''}
"""

_STATES = """
local found = {}
for at = 2, #ARGV do found[at - 1] = get(ARGV[at], 'state') or '' end
return found
"""

_JOBS = """
local of = ARGV[2] == '' and 'all' or 'of:' .. ARGV[2]
return listed(call('ZREVRANGE', P .. of, 0, LISTED - 1))
"""

_DEAD = """
return listed(call('HVALS', P .. 'dead'))
"""

_CANCEL = """
local id = ARGV[2]
local state = get(id, 'state')
if not state then return false end
if state == 'queued' then
  unqueue(id)
  finish(id, 'cancelled', 'cancelled before it began')
elseif state == 'running' then
  set(id, 'stop', '1')
else
  return 0
end
return 1
"""

_RETRY = """
local id = ARGV[2]
local state, project, same = get(id, 'state', 'project', 'same')
if not state then return false end
if state ~= 'failed' and state ~= 'cancelled' then return 0 end
if call('HGET', P .. 'dead', same) == id then call('HDEL', P .. 'dead', same) end
call('ZREM', P .. 'ended:' .. project, id)
call('HDEL', job(id), 'finished', 'started', 'stop')
set(id, 'attempts', '0', 'progress', '0', 'message', '')
queue(id, 0)
return 1
"""

_SEEN = """
local worker, there = ARGV[2], ARGV[3]
for at = 4, #ARGV do
  if there == '1' then call('ZADD', P .. 'seen', exact(now), ARGV[at] .. ' ' .. worker)
  else call('ZREM', P .. 'seen', ARGV[at] .. ' ' .. worker) end
end
call('ZREMRANGEBYSCORE', P .. 'seen', '-inf', exact(now - SEEN_S))
return call('ZRANGE', P .. 'seen', 0, -1)
"""

_BODIES = {
    "put": _PUT,
    "claim": _CLAIM,
    "beat": _BEAT,
    "finish": _FINISH,
    "requeue": _REQUEUE,
    "running": _RUNNING,
    "release": _RELEASE,
    "job": _JOB,
    "states": _STATES,
    "jobs": _JOBS,
    "dead": _DEAD,
    "cancel": _CANCEL,
    "retry": _RETRY,
    "seen": _SEEN,
}


def scripts(**numbers: float) -> dict[str, str]:
    """Name → Lua text. `numbers`: what its constants in capitals stand for. Arguments: the time, or "" for the
    server's, then the script's own."""
    head = "".join(f"local {name} = {number:g}\n" for name, number in numbers.items())
    return {name: head + _LIBRARY + body for name, body in _BODIES.items()}
