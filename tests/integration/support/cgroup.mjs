// A limit of memory that the kernel keeps, where the machine lets us make one.
import fs from 'node:fs';
import path from 'node:path';

let groups = 0;

/** The memory controller's folder in which groups can be made: {folder, file} or null. */
function controller() {
  const own = fs.readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n').map((line) => line.split(':'));
  const mounts = fs.readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n').map((line) => line.split(' '));
  for (const mount of mounts) {
    const at = mount.indexOf('-');
    const [kind, , options] = mount.slice(at + 1);
    const [root, folder] = [mount[3], mount[4]];
    const isOld = kind === 'cgroup' && options.split(',').includes('memory');
    if (!isOld && kind !== 'cgroup2') continue;
    const line = own.find(([, controllers]) => (isOld ? controllers.split(',').includes('memory') : controllers === ''));
    if (!line) continue;
    const below = path.relative(root, line[2]);
    const here = path.join(folder, below.startsWith('..') ? '' : below);
    if (!isOld && !fs.existsSync(path.join(here, 'memory.max')) && !fs.readFileSync(path.join(here, 'cgroup.subtree_control'), 'utf8').includes('memory')) continue;
    return { folder: here, file: isOld ? 'memory.limit_in_bytes' : 'memory.max' };
  }
  return null;
}

/** {kind, limits, remove()}: `limits` is for startServer. The group counts the page cache too, so the kernel has to take
 * that back before anything else; RLIMIT_DATA counts what is mapped to be written, touched or not. */
export function limitedTo(bytes) {
  try {
    const { folder, file } = controller();
    const group = path.join(folder, `skerry-test-${process.pid}-${++groups}`);
    fs.mkdirSync(group);
    try {
      fs.writeFileSync(path.join(group, file), String(bytes));
      return {
        kind: 'memory cgroup',
        limits: ['sh', '-c', `echo $$ >${path.join(group, 'cgroup.procs')} && exec "$@"`, 'sh'],
        remove: () => { try { fs.rmdirSync(group); } catch { /* a process is still leaving it */ } },
      };
    } catch (error) {
      fs.rmdirSync(group);
      throw error;
    }
  } catch {
    // Threads' stacks and allocators' reservations count although nothing is in them: twice the limit and some.
    return { kind: 'RLIMIT_DATA', limits: ['prlimit', `--data=${2 * bytes + 256 * 1024 * 1024}`], remove() {} };
  }
}
