-- One patient after another: register, ask for the status, cancel. A thread has one connection, a shop and
-- patients of its own. args: path of the waiting room, key, first number of a patient.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local path, key, first
local step, uid, turns = 0, nil, 0

function init(args)
  path, key, first = args[1], args[2], tonumber(args[3])
end

function request()
  if step == 0 then
    turns = turns + 1
    local body = string.format('{"shop_uid": "shop-%d", "patient_profile_uid": "pp-%08d"}',
      number, first + number * 100 + turns % 100)
    return wrk.format("POST", path .. "/register", {["X-API-Key"] = key, ["Content-Type"] = "application/json"}, body)
  elseif step == 1 then
    return wrk.format("GET", path .. "/" .. uid .. "/status", {["X-API-Key"] = key})
  end
  return wrk.format("DELETE", path .. "/" .. uid, {["X-API-Key"] = key})
end

function response(status, headers, body)
  if step == 0 then uid = body:match('"queue_uid"%s*:%s*"([^"]+)"') end
  if uid == nil then step = 0 else step = (step + 1) % 3 end
end
