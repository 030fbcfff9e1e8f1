'use strict';
// The photographs of a page: a table that is sorted and filtered. photograph.js opens one of its rows.
// Texts are set as text, never as markup; the provenance cells alone come as markup, made by provenance_cell.py.

const PAGE_SIZE = 50;
const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId('report').textContent);
const collator = new Intl.Collator(undefined, { numeric: true });
const percent = (share) => ((share ?? null) === null ? '' : `${(100 * share).toFixed(2)}%`);
const table = { column: null, down: true, page: 0, shown: [] };

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// ---- cells

const badge = (row) => row.verdict && make('span', { className: `badge ${row.verdict}` }, row.verdict);
const paragraphs = (text) => text.split('\n').filter(Boolean).map((line) => make('p', {}, line));
const number = (text) => make('td', { className: 'number' }, text);

function pictureCell(row) {
  if (row.verdict === 'failed') return make('td');
  const picture = row.thumbnail
    ? make('img', { src: row.thumbnail, alt: '', loading: 'lazy', width: row.thumbnail_size[0],
      height: row.thumbnail_size[1] })
    : make('em', {}, 'no longer there');
  return make('td', {}, make('button', { type: 'button', className: 'open', ariaLabel: `Open ${row.path}` }, picture));
}

function nameOf(row) {
  const [, folder, name] = row.path.match(/^(.*[/\\])?(.*)$/s);
  return [make('div', {}, name), make('div', { className: 'folder muted' }, folder ?? '')];
}

function pathCell(row) {
  const cell = make('td', { className: 'path', title: row.path }, ...nameOf(row));
  if (row.error) cell.append(make('p', {}, row.error));
  return cell;
}

function bar(row) {
  const fill = make('i', { className: row.verdict });
  fill.style.width = `${100 * row.score}%`;
  return make('span', { className: 'bar', ariaHidden: 'true' }, fill);
}

function scoreCell(row) {
  return (row.score ?? null) === null ? make('td') : make('td', { className: 'number' }, row.score.toFixed(3), bar(row));
}

function swatch(color) {
  const square = make('span', { className: 'swatch' });
  square.style.background = color;
  return square;
}

const editors = (row) => row.editors.map(([name, color, share]) =>
  make('div', { className: 'editor' }, swatch(color), `${name} ${share}`));
const editorsCell = (row) => make('td', {}, ...editors(row));

function regionsCell(row) {
  if (row.verdict === 'failed') return make('td');
  const phrases = row.regions.map((region) => region.phrase).filter(Boolean).join(', ');
  return make('td', { className: phrases ? 'phrases' : 'number' }, String(row.regions.length), phrases && `: ${phrases}`);
}

function explanationCell(row) {
  if (!row.explanation) return make('td');
  const lines = row.explanation.split('\n');
  // the first stage of FakeReasoning is the same for every image
  const first = lines.find((line) => line.startsWith('Reasoning:')) ?? lines[0];
  const summary = make('summary', {}, first.length > 80 ? `${first.slice(0, 80)}…` : first);
  return make('td', { className: 'said' }, make('details', {}, summary, ...paragraphs(row.explanation)));
}

function provenanceCell(row) {
  const template = make('template', { innerHTML: row.provenance ?? '<td></td>' });
  return template.content.firstElementChild;
}

// a false alarm or a miss is named beside the truth
const outcome = (row) => (row.outcome ? make('div', { className: 'outcome' }, row.outcome) : null);
const digits = (value) => value?.toFixed(3) ?? '';
const known = (name) => report.rows.some((row) => (row[name] ?? null) !== null);

const columns = [
  { title: 'Picture', cell: pictureCell },
  { title: 'Path', key: (row) => row.path, cell: pathCell },
  { title: 'Verdict', key: (row) => row.verdict, cell: (row) => make('td', {}, badge(row) ?? ''), unless: !known('verdict') },
  { title: 'Truth', key: (row) => row.truth, cell: (row) => make('td', {}, row.truth ?? '', outcome(row)),
    unless: !known('truth') },
  { title: 'Subset', key: (row) => row.subset, cell: (row) => make('td', { className: 'subset' }, row.subset ?? ''),
    unless: new Set(report.rows.map((row) => row.subset)).size < 2 },
  { title: 'Score', numeric: true, key: (row) => row.score, cell: scoreCell, unless: !known('score') },
  { title: 'F1', numeric: true, key: (row) => row.f1, cell: (row) => number(digits(row.f1)), unless: !known('f1') },
  { title: 'IoU', numeric: true, key: (row) => row.iou, cell: (row) => number(digits(row.iou)), unless: !known('iou') },
  { title: 'Forged share', numeric: true, key: (row) => row.forged, cell: (row) => number(percent(row.forged)),
    unless: !known('forged') },
  { title: 'AI-made share', numeric: true, key: (row) => row.ai, cell: (row) => number(percent(row.ai)),
    unless: !report.with.ai },
  { title: 'Editors', key: (row) => row.editors[0]?.[0] ?? null, cell: editorsCell, unless: !report.with.editors },
  { title: 'Regions', numeric: true, key: (row) => row.regions.length, cell: regionsCell, unless: !known('forged') },
  { title: 'Explanation', cell: explanationCell, unless: !report.with.explanation },
  { title: 'Provenance', key: (row) => row.origin, cell: provenanceCell, unless: !report.with.provenance },
].filter((column) => !column.unless);

// ---- table

function compare(one, other) {
  const [first, second] = [one, other].map((row) => table.column.key(row) ?? null);
  // what is unknown stands last, whichever way the rest is sorted
  if (first === null || second === null) return (first === null) - (second === null);
  const order = table.column.numeric ? first - second : collator.compare(first, second);
  return table.down ? -order : order;
}

function arrange() {
  const hidden = [...document.querySelectorAll('#tools [name=verdict]:not(:checked)')].map((box) => box.value);
  const letters = byId('search').value.toLowerCase();
  const fits = (row) => !hidden.includes(row.verdict) && row.path.toLowerCase().includes(letters);
  table.shown = report.rows.filter((row) => fits(row) && (row.outcome || !byId('wrong')?.checked));
  table.shown.sort(compare);
  turn(0);
}

function sortBy(column) {
  const again = table.column === column;
  table.down = again ? !table.down : Boolean(column.numeric);
  table.column = column;
  for (const head of byId('heads').cells) {
    if (head.column === column) head.ariaSort = table.down ? 'descending' : 'ascending';
    else head.ariaSort = null;
  }
  arrange();
}

function turn(page) {
  table.page = page;
  const first = page * PAGE_SIZE;
  const rows = table.shown.slice(first, first + PAGE_SIZE).map((row, place) => {
    const cells = columns.map((column) => {
      const cell = column.cell(row);
      if (column.key && column.title !== 'Path') cell.dataset.title = column.title;
      return cell;
    });
    const line = make('tr', {}, ...cells);
    line.addEventListener('click', (event) => {
      if (!event.target.closest('a, summary, details[open]')) open(first + place);
    });
    return line;
  });
  byId('rows').replaceChildren(...rows);
  byId('nothing').hidden = rows.length > 0;
  const last = first + rows.length;
  for (const pager of document.querySelectorAll('.pager')) {
    const [back, text, on] = pager.children;
    back.disabled = page === 0;
    on.disabled = last >= table.shown.length;
    text.textContent = rows.length ? `${first + 1} to ${last} of ${table.shown.length}` : '0';
  }
}

// ---- start

byId('heads').append(...columns.map((column) => {
  if (!column.key) return make('th', { className: 'still' }, column.title);
  const button = make('button', { type: 'button' }, column.title);
  button.addEventListener('click', () => sortBy(column));
  return make('th', { column, className: column.numeric ? 'number' : '' }, button);
}));
for (const pager of document.querySelectorAll('.pager')) {
  for (const [text, step, label] of [['←', -1, 'Previous page'], ['→', 1, 'Next page']]) {
    const button = make('button', { type: 'button', ariaLabel: label }, text);
    button.addEventListener('click', () => turn(table.page + step));
    pager.append(button);
  }
  pager.firstChild.after(make('span', {}));
}
byId('tools').addEventListener('input', arrange);
byId('tools').addEventListener('submit', (event) => event.preventDefault());
sortBy(columns.find((column) => column.title === 'Score') ?? columns.find((column) => column.key));
