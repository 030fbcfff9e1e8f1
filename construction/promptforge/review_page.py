"""The HTML of the review page: style and frame. What it shows comes as JSON, never as markup."""

import html
import json
from typing import Any

from .review_script import SCRIPT

FORMAT = "forgescope-review"
VERSION = 1
# Ratings in the order of the keys 1, 2, 3, with what section 4.3 means by them.
DEFINITIONS = {
    "perfect": "The mask is precise, or has noise that is negligible.",
    "minor": "The mask is right for the most part; wrong areas cover less than 20 % of the edited region.",
    "significant": "The mask has substantial errors.",
}
SIGNS = {"perfect": "\u2713", "minor": "\u2248", "significant": "\u2717"}
TITLES = {"perfect": "Perfect", "minor": "Minor error", "significant": "Significant error"}

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--perfect:#1f6f3f;--minor:#8a5a00;--significant:#b3261e;
  --tall:clamp(220px,100vh - 25.5rem,760px);--accent:#1a56b0}
@media(prefers-color-scheme:dark){:root{--perfect:#4cc37f;--minor:#e5ad45;--significant:#ff7a70;--accent:#8ab4ff}}
*{box-sizing:border-box}[hidden]{display:none!important}
body{font:15px/1.45 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText}
h1{font-size:1.15rem;margin:0}h2{font-size:.95rem;margin:0}p{margin:.2rem 0}.muted{opacity:.75;font-size:.88rem}
button,select,input{font:inherit;color:inherit}
button,select,input[type=text]{border:1px solid var(--line);border-radius:.5rem;background:var(--soft);
  padding:.3rem .7rem}
select option{background:Canvas;color:CanvasText}button{cursor:pointer}button:hover{border-color:currentColor}
button.main{background:var(--accent);border-color:var(--accent);color:Canvas;font-weight:600}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
kbd{font:600 .8rem ui-monospace,monospace;border:1px solid var(--line);border-bottom-width:2px;border-radius:.3rem;
  padding:0 .35rem}
header{position:sticky;top:0;z-index:1;background:Canvas;border-bottom:1px solid var(--line);
  padding:.6rem 1.2rem .5rem}
header>div:first-child{display:flex;gap:.6rem 1rem;align-items:center;flex-wrap:wrap}
header h1+p{margin:0 auto 0 0}
.filters{display:flex;gap:.4rem 1.1rem;flex-wrap:wrap;align-items:center;margin:.5rem 0 .1rem;font-size:.88rem}
.filters label{display:flex;gap:.4rem;align-items:center}.filters progress{width:9rem;accent-color:var(--accent)}
.filters output{font-variant-numeric:tabular-nums;font-weight:600}.filters .end{margin-left:auto}
#strip{display:flex;height:10px;gap:1px;margin-top:.45rem;cursor:pointer}
#strip i{flex:1;min-width:0;background:var(--soft);border-radius:1px}
#strip i.off{opacity:.35}#strip i[data-rating=perfect]{background:var(--perfect)}
#strip i[data-rating=minor]{background:var(--minor)}#strip i[data-rating=significant]{background:var(--significant)}
#strip i.here{box-shadow:0 0 0 2px CanvasText;z-index:1}
main{max-width:1900px;margin:0 auto;padding:.8rem 1.2rem 0}
.facts{min-height:4.2rem}.facts .instruction{font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}
.facts p{overflow-wrap:anywhere}
.tag{border:1px solid var(--line);border-radius:1rem;padding:.05rem .6rem;margin-right:.35rem;white-space:nowrap}
.views{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.9rem;margin:.6rem 0}
figure{margin:0}figcaption{display:flex;justify-content:space-between;gap:.5rem;margin-bottom:.25rem;font-weight:600}
figcaption .muted{font-weight:400}
.stage{height:var(--tall);display:grid;place-items:center;background:var(--soft);border-radius:.5rem;overflow:hidden}
.frame{position:relative;aspect-ratio:var(--ratio,1);width:min(100%,calc(var(--tall)*var(--ratio,1)))}
.frame>*{position:absolute;inset:0;width:100%;height:100%}canvas{image-rendering:pixelated;pointer-events:none}
.tools{display:flex;gap:.5rem 1.4rem;flex-wrap:wrap;align-items:center;font-size:.9rem}
.tools label{display:flex;gap:.45rem;align-items:center}
.tools input[type=range]{width:11rem;accent-color:var(--accent)}
.tools input[type=color]{width:2.2rem;height:1.6rem;padding:0;border:0;background:none}
.tools output{width:3rem;font-variant-numeric:tabular-nums}
footer{position:sticky;bottom:0;background:Canvas;padding:.1rem 0 .6rem}
.rate{display:grid;grid-template-columns:auto repeat(3,minmax(0,1fr)) auto;gap:.7rem;margin-top:.5rem}
.rate .choice{text-align:left;padding:.55rem .9rem;border-width:2px;border-color:var(--own);border-radius:.7rem}
.rate .choice b{display:flex;justify-content:space-between;align-items:center;color:var(--own);font-size:1.02rem}
.rate .choice small{display:block;line-height:1.35}
.rate .choice[aria-pressed=true]{background:var(--own);color:Canvas}
.rate .choice[aria-pressed=true] b{color:inherit}
.rate .choice[aria-pressed=true] kbd{border-color:currentColor}
[data-choice=perfect]{--own:var(--perfect)}[data-choice=minor]{--own:var(--minor)}
[data-choice=significant]{--own:var(--significant)}
.step{min-width:3.2rem;font-size:1.2rem}#said{margin-left:.6rem}
#nothing{padding:5rem 1rem;text-align:center;font-size:1.1rem}
dialog{max-width:37rem;border:1px solid var(--line);border-radius:.9rem;padding:1.3rem 1.6rem;background:Canvas;
  color:CanvasText}
dialog::backdrop{background:#0009}dialog h2{font-size:1.2rem;margin-bottom:.4rem}dialog dl{margin:.7rem 0}
dialog dt{font-weight:600;color:var(--own)}dialog dd{margin:0 0 .5rem 0}
dialog .keys{display:grid;grid-template-columns:auto 1fr;gap:.25rem .8rem;margin:.8rem 0;font-size:.9rem}
dialog form{display:flex;gap:.6rem;align-items:end;flex-wrap:wrap;margin-top:.8rem}
dialog form label{display:grid;gap:.2rem;flex:1;min-width:12rem}
@media(max-width:900px){.views{grid-template-columns:1fr}.stage{height:auto}.frame{width:100%}
  .rate small,.rate kbd{display:none}.rate .choice{padding:.5rem}.step{min-width:2.2rem;padding:0}}
@media(prefers-reduced-motion:no-preference){.rate .choice,#strip i{transition:background-color .12s}}
"""

PAGE_START = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>forgescope review: {folder}</title>
<style>{style}</style>
</head>
<body>
<noscript><p>This page needs JavaScript.</p></noscript>
<header>
<div><h1>Mask review</h1><p class="muted">{folder}, {count} pairs, seed {seed}</p>
<span>Rater: <b id="who">nobody</b></span>
<button id="help" aria-haspopup="dialog">Rater and help <kbd>?</kbd></button>
<button id="save" class="main">Save ratings</button></div>
<div class="filters">
<progress id="done" max="{count}" value="0" aria-label="Pairs rated"></progress>
<output id="count"></output>
<label class="end">Show <select id="state"><option value="">all ratings</option>
<option value="unrated">not rated</option>{states}</select></label>
<label>Source <select id="source"><option value="">all</option></select></label>
<label>Task <select id="task"><option value="">all</option></select></label>
</div>
<div id="strip" aria-hidden="true"></div>
</header>
<main>
<p id="nothing" hidden></p>
<div id="pair">
<section class="facts" aria-labelledby="number">
<h2 aria-live="polite"><span id="number"></span> <span id="tags" class="muted"></span></h2>
<p class="instruction" id="instruction" dir="auto"></p><p id="english" dir="auto"></p>
<p class="muted" id="numbers"></p>
</section>
<section class="views" aria-label="Images">
<figure id="original"><figcaption>Original <span class="size muted"></span></figcaption>
<div class="stage"><div class="frame"><img alt=""></div></div></figure>
<figure id="edited"><figcaption>Edited <span class="size muted"></span></figcaption>
<div class="stage"><div class="frame"><img alt=""></div></div></figure>
<figure id="overlay"><figcaption>Edited with mask <span class="size muted"></span></figcaption>
<div class="stage"><div class="frame"><img alt=""><canvas id="fill" aria-hidden="true"></canvas>
<canvas id="line" aria-hidden="true"></canvas></div></div></figure>
</section>
<section class="tools" aria-label="Look of the mask">
<label>Mask opacity <input id="opacity" type="range" min="0" max="100" step="5" value="50">
<output id="percent" for="opacity"></output></label>
<label><input id="outline" type="checkbox" checked> Outline <kbd>O</kbd></label>
<label>Colour <input id="colour" type="color" value="#ff2d55"></label>
<span class="muted"><kbd>M</kbd> hides the mask</span>
</section>
</div>
<footer>
<section class="rate" id="rate" aria-label="Rating">
<button class="step" id="before" aria-label="Previous pair" title="Previous pair (left arrow)">\u2190</button>
{choices}
<button class="step" id="after" aria-label="Next pair" title="Next pair (right arrow)">\u2192</button>
</section>
<p><button id="undo">Undo <kbd>U</kbd></button> <span id="said" role="status" aria-live="polite"></span></p>
</footer>
</main>
<dialog id="welcome" aria-labelledby="welcome-title">
<h2 id="welcome-title">Rate the masks</h2>
<p>You see an original image, what an editor made of it, and the mask of the pixels that are said to have changed. Say
how good the mask is:</p>
<dl>{definitions}</dl>
<div class="keys"><span><kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd></span><span>rate, and go on to the next pair</span>
<span><kbd>\u2190</kbd> <kbd>\u2192</kbd></span><span>move without rating</span>
<span><kbd>U</kbd></span><span>undo the last rating</span>
<span><kbd>M</kbd> <kbd>O</kbd></span><span>mask off and on, outline off and on</span></div>
<p class="muted">Ratings stay in this browser until you save them as a file. Nothing is sent anywhere.</p>
<form method="dialog" id="start"><label>Your name or initials
<input type="text" id="name" required autocomplete="off" maxlength="60"></label>
<button class="main">Start rating</button></form>
<p class="muted"><label>Go on from a saved file: <input type="file" id="file" accept=".json"></label></p>
<p id="problem" role="alert"></p>
</dialog>
<script type="application/json" id="facts">{facts}</script>
"""

PAGE_END = """<script>{script}</script>
</body>
</html>
"""


def page_start(facts: dict[str, Any]) -> str:
    """Everything above the pairs.

    Args:
        facts: `folder`, `seed`, `key`, `index` (id, source and task of each pair) and what else the script reads.
    """
    choices = "".join(
        f'<button class="choice" data-choice="{kind}" aria-pressed="false"><b><span>{SIGNS[kind]} {TITLES[kind]}'
        f"</span><kbd>{key}</kbd></b><small>{html.escape(text)}</small></button>\n"
        for key, (kind, text) in enumerate(DEFINITIONS.items(), start=1)
    )
    definitions = "".join(
        f'<dt data-choice="{kind}">{SIGNS[kind]} {TITLES[kind]}</dt><dd>{html.escape(text)}</dd>'
        for kind, text in DEFINITIONS.items()
    )
    return PAGE_START.format(
        style=STYLE,
        folder=html.escape(facts["folder"]),
        seed=facts["seed"],
        count=len(facts["index"]),
        states="".join(f'<option value="{kind}">{title.lower()}</option>' for kind, title in TITLES.items()),
        choices=choices,
        definitions=definitions,
        facts=json_in_html({**facts, "format": FORMAT, "version": VERSION, "titles": TITLES}),
    )


def pair_script(number: int, pair: dict[str, Any]) -> str:
    """One pair as text that the browser does not read before it is shown."""
    return f'<script type="application/json" id="pair-{number}">{json_in_html(pair)}</script>\n'


def page_end() -> str:
    """Everything below the pairs."""
    return PAGE_END.format(script=SCRIPT)


def json_in_html(value: Any) -> str:
    """JSON that cannot end a script element or start a comment, whatever its texts hold."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
