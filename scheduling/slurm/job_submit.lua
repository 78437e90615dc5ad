-- Holds jobs that ask for GPUs until apportion has said where they run.
-- Install: copy beside slurm.conf as job_submit.lua, set JobSubmitPlugins=lua, run "scontrol reconfigure".
--
-- While the heartbeat file is older than MAX_AGE seconds (the scheduler is down), jobs pass as if this were not here.
-- Set HEARTBEAT to nil to hold jobs always.

local HEARTBEAT = "/run/apportion/heartbeat"
local MAX_AGE = 60
local MARK = "apportion"

local function alive()
   if HEARTBEAT == nil then
      return true
   end
   local file = io.open(HEARTBEAT, "r")
   if file == nil then
      return false
   end
   local written = tonumber(file:read("*l"))
   file:close()
   return written ~= nil and os.difftime(os.time(), written) <= MAX_AGE
end

local function asks_for_gpus(job)
   for _, field in ipairs({"tres_per_node", "tres_per_job", "tres_per_task"}) do
      local asked = job[field]
      if asked ~= nil and string.find(asked, "gpu") then
         return true
      end
   end
   return false
end

function slurm_job_submit(job_desc, part_list, submit_uid)
   if job_desc.array_inx ~= nil or job_desc.dependency ~= nil then
      return slurm.SUCCESS
   end
   if asks_for_gpus(job_desc) and job_desc.admin_comment == nil and alive() then
      job_desc.priority = 0
      job_desc.admin_comment = MARK
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
   return slurm.SUCCESS
end

return slurm.SUCCESS
