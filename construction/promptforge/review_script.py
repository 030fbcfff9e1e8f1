"""The script of the review page: shows one pair at a time, takes ratings by key, keeps them, saves them as a file.

It reads two kinds of JSON elements: `facts` (what review_page.page_start is given) and `pair-0`, `pair-1`, ...
Texts are set as text, never as markup.
"""

SCRIPT = """
'use strict';
const $=id=>document.getElementById(id),all=query=>[...document.querySelectorAll(query)];
const facts=JSON.parse($('facts').textContent),index=facts.index,kinds=Object.keys(facts.titles);
const prefix='forgescope-review:';
let rater='',ratings={},steps=[],at=-1,turn=0,stored=true,unsaved=false,byPointer=false;

function recall(name){try{return localStorage.getItem(prefix+name)}catch{return null}}
function keep(name,value){
  try{localStorage.setItem(prefix+name,value)}
  catch{stored=false;say('This browser keeps nothing: save the ratings before you close the page.')}
}
function say(text){$('said').textContent=text}
function ratingOf(number){return Object.hasOwn(ratings,index[number].id)?ratings[index[number].id]:null}
function firstOpen(){return Math.max(0,index.findIndex((_,number)=>!ratingOf(number)))}
function rated(){return index.filter((_,number)=>ratingOf(number)).length}

function setRater(name){
  rater=name.trim();steps=[];unsaved=false;
  const known=rater?recall(facts.key+':'+rater):null;
  ratings=Object.create(null);
  if(known)for(const [id,rating] of Object.entries(JSON.parse(known)))if(kinds.includes(rating))ratings[id]=rating;
  $('who').textContent=rater||'nobody';
  if(rater)keep('rater',rater);
  progress();
}
function store(){unsaved=true;keep(facts.key+':'+rater,JSON.stringify(ratings))}

function fits(number){
  const pair=index[number],source=$('source').value,task=$('task').value,state=$('state').value;
  return (!source||pair.source===source)&&(!task||(pair.task??'none')===task)
    &&(!state||(ratingOf(number)??'unrated')===state);
}
function seek(from,step){
  for(let number=from;number>=0&&number<index.length;number+=step)if(fits(number))return number;
  return -1;
}
function progress(){
  const done=rated();
  $('done').value=done;$('count').textContent=`${done} of ${index.length} rated`;
  $('undo').disabled=!steps.length;
  all('#strip i').forEach((mark,number)=>{
    mark.dataset.rating=ratingOf(number)??'';
    mark.classList.toggle('off',!fits(number));mark.classList.toggle('here',number===at);
  });
  const chosen=at<0?null:ratingOf(at);
  all('[data-choice][aria-pressed]').forEach(button=>
    button.setAttribute('aria-pressed',String(button.dataset.choice===chosen)));
}

function pairOf(number){return JSON.parse($('pair-'+number).textContent)}
function put(figure,image,text){
  const box=$(figure),ratio=image.width/image.height;
  box.querySelector('.frame').style.setProperty('--ratio',ratio);
  const element=box.querySelector('img');element.src=image.data;element.alt=text;
  box.querySelector('.size').textContent=`${image.width} \\u00d7 ${image.height}`;
}
function show(number){
  at=number;turn+=1;
  $('pair').hidden=$('rate').hidden=number<0;$('nothing').hidden=number>=0;
  if(number<0){
    $('nothing').textContent=rated()===index.length?'Every pair is rated. Save the ratings.':
      'No pair fits the filter.';
    progress();return;
  }
  const pair=pairOf(number),about=pair.instruction_en??pair.instruction??'no instruction';
  $('number').textContent=`Pair ${number+1} of ${index.length}`;
  $('instruction').textContent=pair.instruction??pair.instruction_en??'(no instruction)';
  const second=pair.instruction_en&&pair.instruction&&pair.instruction_en!==pair.instruction;
  $('english').textContent=second?pair.instruction_en:'';$('english').hidden=!second;
  $('tags').replaceChildren(...[pair.source,pair.task??pair.source_task,pair.split].filter(Boolean).map(text=>{
    const tag=document.createElement('span');tag.className='tag';tag.textContent=text;return tag}));
  const numbers=[`id ${pair.id}`,`${(100*pair.mask.share).toFixed(1)} % marked`];
  if(pair.inlier_ratio!==undefined)numbers.push(`inlier ratio ${pair.inlier_ratio.toFixed(2)}`);
  if(pair.num_matches!==undefined)numbers.push(`${pair.num_matches} matches`);
  $('numbers').textContent=numbers.join(' \\u00b7 ');
  put('original',pair.original,`Original image, before: ${about}`);
  put('edited',pair.edited,`Edited image, after: ${about}`);
  put('overlay',pair.edited,`Edited image with its mask, ${(100*pair.mask.share).toFixed(1)} % marked`);
  $('overlay').querySelector('.size').textContent=`mask ${pair.mask.width} \\u00d7 ${pair.mask.height}`;
  paint(pair.mask.data,turn);
  progress();
  setTimeout(()=>{const next=seek(number+1,1);if(next>=0)for(const part of ['original','edited'])
    Object.assign(new Image(),{src:pairOf(next)[part].data})},60);
}

let stencil=null;
function paint(address,mine){
  for(const canvas of [$('fill'),$('line')])canvas.width=canvas.width;
  stencil=null;
  const image=new Image();
  image.onload=()=>{if(mine===turn){stencil=image;tint()}};
  image.src=address;
}
function tint(){
  if(!stencil)return;
  const scale=Math.max(1,Math.round(1024/Math.max(stencil.width,stencil.height)));
  const width=stencil.width*scale,height=stencil.height*scale,edge=Math.max(2,Math.round(Math.max(width,height)/340));
  for(const canvas of [$('fill'),$('line')]){
    canvas.width=width;canvas.height=height;
    const pen=canvas.getContext('2d');pen.imageSmoothingEnabled=false;
    const stamp=(x,y)=>pen.drawImage(stencil,x,y,width,height);
    if(canvas.id==='fill')stamp(0,0);
    else{
      for(const x of [-edge,0,edge])for(const y of [-edge,0,edge])stamp(x,y);
      pen.globalCompositeOperation='destination-out';stamp(0,0);
    }
    pen.globalCompositeOperation='source-in';pen.fillStyle=$('colour').value;pen.fillRect(0,0,width,height);
  }
  look();
}
function look(){
  const share=Number($('opacity').value);
  $('fill').style.opacity=share/100;$('percent').textContent=`${share} %`;
  $('line').hidden=!$('outline').checked;
}

function move(step){
  const found=seek(at<0?(step>0?0:index.length-1):at+step,step);
  if(found<0)say(at<0?'':step>0?'This is the last pair that fits the filter.':'This is the first one.');
  else{say('');show(found)}
}
function rate(kind){
  if(at<0)return;
  if(!rater){welcome();return}
  const number=at;
  steps.push([number,ratingOf(number)]);
  ratings[index[number].id]=kind;store();
  const next=seek(number+1,1),left=index.length-rated();
  if(next>=0)show(next);
  else if(fits(number))show(number);
  else show(seek(0,1));
  let text=`Pair ${number+1}: ${facts.titles[kind].toLowerCase()}.`;
  if(!left)text+=' Every pair is rated: save the ratings.';
  else if(next<0)text+=` ${left} not rated yet.`;
  if(stored)say(text);
}
function undo(){
  const last=steps.pop();
  if(!last)return;
  const [number,before]=last,id=index[number].id;
  if(before)ratings[id]=before;else delete ratings[id];
  store();show(number);
  if(stored)say(`Pair ${number+1}: undone, ${before?facts.titles[before].toLowerCase():'not rated'} again.`);
}

function save(){
  if(!rater){welcome();return}
  const content={format:facts.format,version:facts.version,page:facts.key,rater,seed:facts.seed,
    per_source:facts.per_source,saved_at:new Date().toISOString(),
    ratings:index.map((pair,number)=>({id:pair.id,source:pair.source,rating:ratingOf(number)}))};
  const link=document.createElement('a');
  const name=rater.replace(/[^\\p{L}\\p{N}_]+/gu,'-').replace(/^-|-$/g,'')||'rater';
  link.href=URL.createObjectURL(new Blob([JSON.stringify(content,null,1)+'\\n'],{type:'application/json'}));
  link.download=`ratings-${name}.json`;link.click();
  setTimeout(()=>URL.revokeObjectURL(link.href),10000);
  unsaved=false;
  say(`Saved as ${link.download}: ${rated()} of ${index.length} rated.`);
}
async function restore(file){
  let content;
  try{content=JSON.parse(await file.text())}catch{content=null}
  if(content?.format!==facts.format||!Array.isArray(content.ratings)){$('problem').textContent=
    `${file.name} is no file of ratings.`;return}
  if(content.page!==facts.key){$('problem').textContent=`${file.name} belongs to another page.`;return}
  setRater(String(content.rater));
  for(const entry of content.ratings)if(kinds.includes(entry?.rating))ratings[entry.id]=entry.rating;
  store();unsaved=false;$('welcome').close();show(Math.max(0,at));
  say(`${rated()} ratings of ${rater} taken from ${file.name}.`);
}
function welcome(){$('name').value=rater||recall('rater')||'';$('problem').textContent='';
  if(!$('welcome').open)$('welcome').showModal()}

const keys={1:()=>rate(kinds[0]),2:()=>rate(kinds[1]),3:()=>rate(kinds[2]),ArrowRight:()=>move(1),
  ArrowLeft:()=>move(-1),ArrowDown:()=>move(1),ArrowUp:()=>move(-1),u:undo,
  m:()=>{const slider=$('opacity');slider.value=slider.value>0?0:50;look()},
  o:()=>{$('outline').checked=!$('outline').checked;look()},'?':welcome};
document.addEventListener('keydown',event=>{
  byPointer=false;
  if(event.ctrlKey||event.metaKey||event.altKey||$('welcome').open)return;
  const target=event.target,key=event.key.length===1?event.key.toLowerCase():event.key;
  if(target.matches('select,input[type=text],input[type=color]'))return;
  if(target.matches('input[type=range]')&&key.startsWith('Arrow'))return;
  if(!Object.hasOwn(keys,key)||(event.repeat&&!key.startsWith('Arrow')))return;
  event.preventDefault();keys[key]();
});
document.addEventListener('pointerdown',()=>{byPointer=true});
// a mouse leaves no focus behind that would take the keys
document.addEventListener('change',event=>{
  if(byPointer&&event.target.matches('.filters *,.tools *'))event.target.blur();
});

for(const name of ['source','task','state'])$(name).addEventListener('change',()=>{
  say('');
  if(at>=0&&fits(at))show(at);
  else{const next=seek(Math.max(0,at),1);show(next>=0?next:seek(0,1))}
});
for(const name of ['opacity','outline'])$(name).addEventListener('input',look);
$('colour').addEventListener('input',tint);
all('[data-choice][aria-pressed]').forEach(button=>button.addEventListener('click',()=>rate(button.dataset.choice)));
$('before').addEventListener('click',()=>move(-1));$('after').addEventListener('click',()=>move(1));
$('undo').addEventListener('click',undo);$('save').addEventListener('click',save);
$('help').addEventListener('click',welcome);
$('start').addEventListener('submit',()=>{
  const name=$('name').value.trim();
  if(name&&name!==rater){setRater(name);show(firstOpen())}
});
$('file').addEventListener('change',event=>{if(event.target.files[0])restore(event.target.files[0]);
  event.target.value=''});
$('strip').addEventListener('click',event=>{
  const number=all('#strip i').indexOf(event.target);if(number>=0)show(number)});
addEventListener('beforeunload',event=>{if(unsaved&&!stored)event.preventDefault()});

$('strip').append(...index.map((_,number)=>{
  const mark=document.createElement('i');mark.title=`Pair ${number+1}`;return mark}));
function options(name,counts){
  for(const [value,count] of Object.entries(counts)){
    const shown=value||'none';$(name).append(new Option(`${shown} (${count})`,shown));
  }
  $(name).parentElement.hidden=Object.keys(counts).length<2;
}
options('source',facts.sources);options('task',facts.tasks);
setRater(recall('rater')??'');
show(firstOpen());
if(!rater)welcome();
"""
