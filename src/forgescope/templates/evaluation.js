'use strict';
// The page of `forgescope evaluate`: its tables are sorted by a click on a head, and rows are found by words. In a block,
// for photographs.js has names of its own.
{
const collator = new Intl.Collator(undefined, { numeric: true });

function sortBy(head) {
  const table = head.closest('table');
  const numeric = head.classList.contains('number');
  const sorted = head.getAttribute('aria-sort');
  const down = sorted ? sorted === 'ascending' : numeric;
  const key = (row) => {
    const cell = row.cells[head.cellIndex];
    return numeric ? Number(cell.dataset.key ?? NaN) : cell.textContent;
  };
  const compare = (one, other) => {
    const [first, second] = [key(one), key(other)];
    // cells without a number stand last, whichever way the rest is sorted
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
    const order = numeric ? first - second : collator.compare(first, second);
    return down ? -order : order;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
}

for (const button of document.querySelectorAll('.wide th button')) {
  button.addEventListener('click', () => sortBy(button.parentElement));
}

document.getElementById('words').addEventListener('input', (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  const rows = [...document.querySelectorAll('#all tbody tr')];
  for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  document.getElementById('count').textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
});
}
