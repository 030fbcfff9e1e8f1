// The dialog of one photograph, a part of the script of photographs.js: pictures that lie over it, and what was found.

let opened = -1; // place in table.shown

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
  const scored = (row.score ?? null) === null ? [] : [`score ${row.score.toFixed(3)}`, scale(row)];
  const parts = [make('p', { className: 'verdict' }, badge(row), ...scored)];
  parts.push(make('dl', {}, ...[
    ['Truth', [row.truth, row.outcome].filter(Boolean).join(': ')], ['Subset', row.subset],
    ['F1', digits(row.f1)], ['IoU', digits(row.iou)],
    ['Forged share', percent(row.forged)], ['AI-made share', percent(row.ai)],
    ['Editors', editors(row)],
    ['Size', `${row.width} × ${row.height}`],
  ].filter(([, said]) => said?.length).flatMap(([name, said]) => [make('dt', {}, name), make('dd', {}, ...[said].flat())])));
  if (row.views.length) parts.push(make('h3', {}, 'Checkpoints'), viewTable(row));
  if (row.explanation) parts.push(fold('Explanation', ...paragraphs(row.explanation)));
  if (row.reference) parts.push(fold('Annotated explanation', ...paragraphs(row.reference)));
  if (row.regions.length) parts.push(make('h3', {}, 'Regions'), regionTable(row));
  if (row.origin) {
    parts.push(make('h3', {}, 'Provenance'), make('div', { className: 'provenance' }, ...provenanceCell(row).children));
  }
  if (row.notes.length) parts.push(fold('Notes', make('ul', {}, ...row.notes.map((note) => make('li', {}, note)))));
  const links = row.files.flatMap(([name, href]) => [make('a', { href, target: '_blank' }, name), ' · ']);
  return links.length ? [...parts, make('p', {}, 'Files: ', ...links.slice(0, -1))] : parts;
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

const columnClass = (title) => `of-${title.toLowerCase().replace(/\W+/g, '-')}`;

function grid(className, titles, lines) {
  const heads = make('tr', {}, ...titles.map((title) => make('th', { className: columnClass(title) }, title)));
  return make('table', { className }, make('thead', {}, heads), make('tbody', {}, ...lines));
}

function viewTable(row) {
  return grid('small', ['Model', 'Verdict', 'Score', 'Forged share'], row.views.map((view) => make('tr', {},
    make('td', { className: columnClass('Model') }, view.model), make('td', {}, badge(view)), make('td', {}, view.score.toFixed(3)),
    make('td', {}, percent(view.forged_fraction)))));
}

function namedEditor(row, name) {
  const [, color] = row.editors.find(([one]) => one === name) ?? [];
  return make('span', {}, color ? swatch(color) : null, name);
}

function artifact(region) {
  return make('div', {}, make('b', {}, region.phrase), make('div', {}, region.explanation ?? ''));
}

function regionTable(row) {
  // title, and text or element of a region; columns that no region fills are left out
  const cells = [
    ['#', (region, place) => String(region.number ?? place + 1)],
    ['Artifact', (region) => region.phrase && artifact(region)],
    ['Editor', (region) => region.editor && namedEditor(row, region.editor)],
    ['Share', (region) => percent(region.area_fraction)],
    // several checkpoints have votes, not probabilities
    [row.views.length ? 'Mean agreement' : 'Mean probability', (region) => region.mean_probability?.toFixed(3)],
    ['Box', (region) => region.box?.join(', ')],
  ].filter(([, text]) => row.regions.some((region, place) => text(region, place)));
  const lines = row.regions.map((region, place) => {
    const line = make('tr', { tabIndex: 0 }, ...cells.map(([title, text]) =>
      make('td', { className: columnClass(title) }, text(region, place) ?? '')));
    if (region.color) line.cells[0].prepend(swatch(region.color));
    const mark = (on) => byId('frame').querySelectorAll('rect')[place].classList.toggle('on', on);
    for (const event of ['mouseenter', 'focus']) line.addEventListener(event, () => mark(true));
    for (const event of ['mouseleave', 'blur']) line.addEventListener(event, () => mark(false));
    return line;
  });
  return grid('small regions', cells.map(([title]) => title), lines);
}

// ---- what is pressed

byId('opacity').addEventListener('input', blend);
byId('close').addEventListener('click', () => byId('dialog').close());
byId('before').addEventListener('click', () => open(opened - 1));
byId('after').addEventListener('click', () => open(opened + 1));
// of the document: a button that is switched off loses the focus, and keys then go to no element of the dialog
document.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && byId('dialog').open && !event.target.matches('input') && table.shown[opened + step]) open(opened + step);
});
