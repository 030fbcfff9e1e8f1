'use strict';
// The page of `forgescope detect`: a table that is sorted and filtered, and a dialog for one photograph.
// Texts are set as text, never as markup; the provenance cells alone come as markup, made by provenance_cell.py.

const PAGE_SIZE = 50;
const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId('report').textContent);
const collator = new Intl.Collator(undefined, { numeric: true });
const percent = (share) => (share === null ? '' : `${(100 * share).toFixed(2)}%`);
const table = { column: null, down: true, page: 0, shown: [] };
let opened = -1; // place in table.shown

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// ---- cells

const badge = (row) => make('span', { className: `badge ${row.verdict}` }, row.verdict);
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
  return row.score === null ? make('td') : make('td', { className: 'number' }, row.score.toFixed(3), bar(row));
}

function swatch(color) {
  const square = make('span', { className: 'swatch' });
  square.style.background = color;
  return square;
}

function editorsCell(row) {
  return make('td', {}, ...row.editors.map(([name, color, share]) =>
    make('div', { className: 'editor' }, swatch(color), `${name} ${share}`)));
}

function regionsCell(row) {
  if (row.verdict === 'failed') return make('td');
  const phrases = row.regions.map((region) => region.phrase).filter(Boolean).join(', ');
  return make('td', { className: phrases ? 'phrases' : 'number' }, String(row.regions.length), phrases && `: ${phrases}`);
}

function explanationCell(row) {
  if (!row.explanation) return make('td');
  const [first] = row.explanation.split('\n');
  const summary = make('summary', {}, first.length > 80 ? `${first.slice(0, 80)}…` : first);
  return make('td', { className: 'said' }, make('details', {}, summary, ...paragraphs(row.explanation)));
}

function provenanceCell(row) {
  const template = make('template', { innerHTML: row.provenance ?? '<td></td>' });
  return template.content.firstElementChild;
}

const columns = [
  { title: 'Picture', cell: pictureCell },
  { title: 'Path', key: (row) => row.path, cell: pathCell },
  { title: 'Verdict', key: (row) => row.verdict, cell: (row) => make('td', {}, badge(row)) },
  { title: 'Score', numeric: true, key: (row) => row.score, cell: scoreCell },
  { title: 'Forged share', numeric: true, key: (row) => row.forged, cell: (row) => number(percent(row.forged)) },
  { title: 'AI-made share', numeric: true, key: (row) => row.ai, cell: (row) => number(percent(row.ai)),
    unless: !report.with.ai },
  { title: 'Editors', key: (row) => row.editors[0]?.[0] ?? null, cell: editorsCell, unless: !report.with.editors },
  { title: 'Regions', numeric: true, key: (row) => row.regions.length, cell: regionsCell },
  { title: 'Explanation', cell: explanationCell, unless: !report.with.explanation },
  { title: 'Provenance', key: (row) => row.origin, cell: provenanceCell, unless: !report.with.provenance },
].filter((column) => !column.unless);

// ---- table

function compare(one, other) {
  const [first, second] = [one, other].map(table.column.key);
  // what is unknown stands last, whichever way the rest is sorted
  if (first === null || second === null) return (first === null) - (second === null);
  const order = table.column.numeric ? first - second : collator.compare(first, second);
  return table.down ? -order : order;
}

function arrange() {
  const verdicts = [...document.querySelectorAll('#tools [type=checkbox]:checked')].map((box) => box.value);
  const letters = byId('search').value.toLowerCase();
  table.shown = report.rows.filter((row) => verdicts.includes(row.verdict) && row.path.toLowerCase().includes(letters));
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

// ---- one photograph

const pictureSources = (row) => row.pictures ?? JSON.parse(byId(`pictures-${row.id}`)?.textContent ?? 'null');

function open(place) {
  opened = place;
  const row = table.shown[place];
  byId('name').replaceChildren(...nameOf(row));
  byId('before').disabled = place === 0;
  byId('after').disabled = place === table.shown.length - 1;
  byId('view').hidden = row.verdict === 'failed';
  if (row.verdict !== 'failed') showPictures(row, pictureSources(row));
  byId('facts').replaceChildren(...facts(row));
  if (!byId('dialog').open) byId('dialog').showModal();
}

function showPictures(row, { photo, layers }) {
  const frame = byId('frame');
  frame.style.setProperty('--ratio', row.width / row.height);
  byId('missing').hidden = Boolean(photo);
  frame.replaceChildren();
  if (photo) {
    const image = make('img', { src: photo, alt: 'The photograph' });
    image.addEventListener('error', () => { image.remove(); byId('missing').hidden = false; });
    frame.append(image);
  }
  const kept = document.querySelector('#choices :checked')?.value;
  const chosen = layers.find((layer) => layer.kind === kept) ?? layers[0];
  byId('choices').replaceChildren(...layers.map((layer) => {
    const choice = make('input', { type: 'radio', name: 'layer', value: layer.kind, checked: layer === chosen });
    choice.addEventListener('change', () => lay(row, layer));
    return make('label', {}, choice, ` ${layer.name}`);
  }));
  frame.append(make('img', { id: 'layer', alt: '' }), boxes(row));
  lay(row, chosen);
}

function lay(row, layer) {
  const image = byId('layer');
  image.hidden = !layer;
  byId('scale').hidden = layer?.kind !== 'probability_map';
  if (!layer) return;
  image.className = layer.kind;
  image.src = layer.source;
  image.alt = layer.name;
  blend();
}

function blend() {
  byId('layer').style.opacity = byId('opacity').value / 100;
  byId('percent').textContent = `${byId('opacity').value} %`;
}

function boxes(row) {
  const space = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(space, 'svg');
  drawing.setAttribute('viewBox', `0 0 ${row.width} ${row.height}`);
  drawing.ariaHidden = 'true';
  for (const { box: [left, top, right, bottom] } of row.regions) {
    const rectangle = document.createElementNS(space, 'rect');
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
      rectangle.setAttribute(name, value);
    }
    drawing.append(rectangle);
  }
  return drawing;
}

function facts(row) {
  if (row.error) return [make('p', { className: 'verdict' }, badge(row)), make('p', {}, row.error)];
  const parts = [make('p', { className: 'verdict' }, badge(row), `score ${row.score.toFixed(3)}`, scale(row))];
  parts.push(make('dl', {}, ...[
    ['Forged share', percent(row.forged)], ['AI-made share', percent(row.ai)],
    ['Editors', row.editors.map(([name, , share]) => `${name} ${share}`).join(', ')],
    ['Size', `${row.width} × ${row.height}`],
  ].filter(([, text]) => text).flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)])));
  if (row.views.length) parts.push(make('h3', {}, 'Checkpoints'), viewTable(row));
  if (row.explanation) parts.push(fold('Explanation', ...paragraphs(row.explanation)));
  if (row.regions.length) parts.push(make('h3', {}, 'Regions'), regionTable(row));
  if (row.origin) {
    parts.push(make('h3', {}, 'Provenance'), make('div', { className: 'provenance' }, ...provenanceCell(row).children));
  }
  if (row.notes.length) parts.push(fold('Notes', make('ul', {}, ...row.notes.map((note) => make('li', {}, note)))));
  const links = row.files.flatMap(([name, href]) => [make('a', { href, target: '_blank' }, name), ' · ']);
  return [...parts, make('p', {}, 'Files: ', ...links.slice(0, -1))];
}

/** The score as a bar, with a mark at each threshold. */
function scale(row) {
  const drawing = bar(row);
  for (const value of Object.values(report.thresholds ?? {})) {
    const mark = make('b');
    mark.style.left = `${100 * value}%`;
    drawing.append(mark);
  }
  return drawing;
}

const fold = (title, ...children) => make('details', { open: true }, make('summary', {}, make('b', {}, title)), ...children);

function grid(className, titles, lines) {
  const heads = make('tr', {}, ...titles.map((title) => make('th', { className: title.toLowerCase() }, title)));
  return make('table', { className }, make('thead', {}, heads), make('tbody', {}, ...lines));
}

function viewTable(row) {
  return grid('small', ['Model', 'Verdict', 'Score', 'Forged share'], row.views.map((view) => make('tr', {},
    make('td', {}, view.model), make('td', {}, badge(view)), make('td', {}, view.score.toFixed(3)),
    make('td', {}, percent(view.forged_fraction)))));
}

function artifact(region) {
  return make('div', {}, make('b', {}, region.phrase), make('div', {}, region.explanation ?? ''));
}

function regionTable(row) {
  // title, and text or element of a region; columns that no region fills are left out
  const cells = [
    ['#', (region, place) => String(region.number ?? place + 1)],
    ['Artifact', (region) => region.phrase && artifact(region)],
    ['Editor', (region) => region.editor],
    ['Share', (region) => percent(region.area_fraction)],
    ['Mean probability', (region) => region.mean_probability?.toFixed(3)],
    ['Box', (region) => region.box?.join(', ')],
  ].filter(([, text]) => row.regions.some((region, place) => text(region, place)));
  const lines = row.regions.map((region, place) => {
    const line = make('tr', { tabIndex: 0 }, ...cells.map(([title, text]) =>
      make('td', { className: title.toLowerCase() }, text(region, place) ?? '')));
    if (region.color) line.cells[0].prepend(swatch(region.color));
    const mark = (on) => byId('frame').querySelectorAll('rect')[place].classList.toggle('on', on);
    for (const event of ['mouseenter', 'focus']) line.addEventListener(event, () => mark(true));
    for (const event of ['mouseleave', 'blur']) line.addEventListener(event, () => mark(false));
    return line;
  });
  return grid('small regions', cells.map(([title]) => title), lines);
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
byId('opacity').addEventListener('input', blend);
byId('close').addEventListener('click', () => byId('dialog').close());
byId('before').addEventListener('click', () => open(opened - 1));
byId('after').addEventListener('click', () => open(opened + 1));
// of the document: a button that is switched off loses the focus, and keys then go to no element of the dialog
document.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && byId('dialog').open && !event.target.matches('input') && table.shown[opened + step]) open(opened + step);
});
sortBy(columns.find((column) => column.title === 'Score'));
