// Orders and what changed between them. Pure functions over lists of study UIDs.

/** Those that moved against the others: what is not in a longest run that kept its order. */
export function movedBetween(before, after) {
  const place = new Map(before.map((uid, index) => [uid, index]));
  const common = after.filter((uid) => place.has(uid));
  const kept = new Set(longestRun(common.map((uid) => place.get(uid))).map((index) => before[index]));
  return common.filter((uid) => !kept.has(uid));
}

/** What applying `after` would change: above and below the row that is held, and which rows are new or gone. */
export function difference(before, after, held) {
  const was = new Set(before);
  const is = new Set(after);
  const added = after.filter((uid) => !was.has(uid));
  const gone = before.filter((uid) => !is.has(uid));
  const moved = movedBetween(before, after);
  const changed = new Set([...added, ...gone, ...moved]);
  const heldNow = is.has(held) ? after.indexOf(held) : before.indexOf(held);
  const above = [...changed].filter((uid) => uid !== held && (is.has(uid) ? after.indexOf(uid) < heldNow : before.indexOf(uid) < before.indexOf(held)));
  return { added, gone, moved, above: held ? above.length : changed.size, below: held ? changed.size - above.length : 0, total: changed.size };
}

/** Longest increasing subsequence (patience sorting), as its values. */
function longestRun(numbers) {
  const tails = [];
  const parent = new Array(numbers.length).fill(-1);
  numbers.forEach((number, index) => {
    let low = 0;
    let high = tails.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[tails[middle]] < number) low = middle + 1;
      else high = middle;
    }
    parent[index] = low ? tails[low - 1] : -1;
    tails[low] = index;
  });
  const run = [];
  for (let index = tails.at(-1) ?? -1; index >= 0; index = parent[index]) run.push(numbers[index]);
  return run.reverse();
}
