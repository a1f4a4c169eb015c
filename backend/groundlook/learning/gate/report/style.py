"""How the report looks."""

from __future__ import annotations

STYLE = """
*{box-sizing:border-box}
body{font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;color:#1e293b;background:#f5f7fa;margin:0}
header,main{max-width:1240px;margin:0 auto;padding:0 24px}
header{margin-top:28px;background:#fff;border-radius:12px;border-left:8px solid var(--tone);padding:22px 28px;
 box-shadow:0 1px 3px #0f172a1a;max-width:1192px}
.promoted{--tone:#0f9d6b} .refused{--tone:#d6336c} .needs-a-person{--tone:#d98a00}
.outcome{display:inline-block;margin:0;padding:3px 14px;border-radius:99px;background:var(--tone);color:#fff;
 font-weight:650;letter-spacing:.02em}
h1{font-size:24px;margin:10px 0 2px;overflow-wrap:anywhere} h1 small{font-size:15px;font-weight:400;color:#64748b}
.reason{font-size:17px;margin:6px 0 14px;max-width:95ch;overflow-wrap:anywhere}
.facts{display:flex;gap:28px;flex-wrap:wrap;margin:0;color:#64748b} .facts b{color:#1e293b;font-size:17px}
section{background:#fff;border-radius:12px;padding:8px 24px 20px;margin:20px 0;box-shadow:0 1px 3px #0f172a1a}
h2{font-size:18px;margin:12px 0} .scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{font-size:12px;font-weight:600;color:#64748b;text-align:right;padding:6px 12px;border-bottom:2px solid #e2e8f0}
td{text-align:right;padding:7px 12px;border-bottom:1px solid #eef2f6;vertical-align:top;white-space:nowrap}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2),td:last-child{text-align:left}
td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:140px}
td small{display:block;color:#7b8794;font-size:12px}
.passed,.failed,.unknown{padding:2px 10px;border-radius:99px;font-size:12px;font-weight:600}
.passed{background:#e3f6ee;color:#0b7a53} .failed{background:#fde7ef;color:#b3204f}
.unknown{background:#edf1f5;color:#5b6776}
.figures{display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start} figure{margin:8px 0 0;flex:1 1 340px;min-width:0}
figure:first-child:not(:last-child){flex:2 1 560px} figcaption{font-weight:650;font-size:18px;margin-bottom:8px}
figure svg{width:100%;height:auto;max-width:720px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(540px,1fr));gap:22px}
article h3{font-size:14px;font-weight:600;margin:0 0 6px;overflow-wrap:anywhere}
article h3 span{font-size:12px;padding:1px 9px;border-radius:99px;font-weight:600}
.better{background:#e3f6ee;color:#0b7a53} .worse{background:#fde7ef;color:#b3204f}
.row{display:grid;grid-auto-flow:column;grid-auto-columns:1fr;gap:6px}
.row p{margin:0 0 4px;font-size:12px;color:#475569;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row i{display:inline-block;width:10px;height:10px;border-radius:3px;background:var(--own);margin-right:5px}
.row small{color:#7b8794} .row img{display:block;width:100%;border-radius:6px;border-top:3px solid var(--own)}
.row em{display:block;font-style:normal;font-size:13px;margin-top:3px;overflow-wrap:anywhere}
.row .gone{background:#edf1f5;border-radius:6px;padding:40px 8px;text-align:center;white-space:normal}
.how p{max-width:95ch;color:#475569;margin:0}
@media (max-width:640px){.tiles{grid-template-columns:1fr}}
"""
