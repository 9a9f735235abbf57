"""The page: its head, its tabs and its foot, in one language."""

from pathlib import Path

import gradio as gr

from tools.page.animate_tab import add_animate_tab
from tools.page.live import SCRIPT, STYLE, add_live_tab
from tools.page.site import Site
from tools.page.texts import Texts

HERE = Path(__file__).resolve().parent
ACCENT = gr.themes.Color(
    *('#eef6f4', '#d6ebe6', '#aed7ce', '#7fbfb2', '#4da394', '#1f7a6c', '#1a6a5e', '#15574d'),
    *('#10443c', '#0b322c', '#07211d'),
    name='accent',
)
# Fonts of the reader's own machine: the page asks nothing of the network.
FONTS = ('system-ui', '-apple-system', 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'sans-serif')


def build_page(texts: Texts, site: Site) -> gr.Blocks:
    """All of the page, its events attached."""
    with gr.Blocks(title=texts('title'), analytics_enabled=False) as page:
        gr.HTML(_head(texts), elem_id='head', padding=False)
        with gr.Tabs(elem_id='tabs'):
            with gr.Tab(texts('tab_animate'), id='animate'):
                add_animate_tab(texts, site)
            with gr.Tab(texts('tab_live'), id='live'):
                add_live_tab(texts, site)
        gr.HTML(f'<p>{texts("footer")}</p>', elem_id='foot', padding=False)
        page.unload(site.leave)
    return page


def appearance(texts: Texts) -> dict[str, object]:
    """What mounting the page says of its looks."""
    return {
        'theme': gr.themes.Base(
            primary_hue=ACCENT,
            neutral_hue='slate',
            radius_size='md',
            spacing_size='md',
            font=FONTS,
            font_mono=('ui-monospace', 'monospace'),
        ),
        'css_paths': [STYLE],
        'head': _script(texts) + SCRIPT + _style(texts),
        'footer_links': [],
        'run_history': False,
        'show_error': False,
        'enable_monitoring': False,
    }


def _head(texts: Texts) -> str:
    return (
        f'<div class="head"><div><h1>{texts("title")}</h1><p>{texts("lead")}</p></div>'
        f'<a class="switch" href="../?language={texts.other}" lang="{texts.other}" '
        f'title="{texts("switch_hint")}">{texts("switch")}</a></div>'
    )


def _script(texts: Texts) -> str:
    """What Gradio itself says follows the page's language, not the browser's."""
    tag = {'en': 'en', 'zh': 'zh-CN'}[texts.language]
    return (
        f'<script>document.documentElement.lang = "{tag}";'
        f'Object.defineProperty(navigator, "language", {{get: () => "{tag}"}});'
        f'Object.defineProperty(navigator, "languages", {{get: () => ["{tag}"]}});</script>'
    )


def _style(texts: Texts) -> str:
    """Not by Gradio's `css`, which would put its own scope before each rule."""
    sheet = (HERE / 'style.css').read_text(encoding='utf-8')
    return f'<style>:root {{ --nothing-yet: "{texts("result_empty")}"; }}\n{sheet}</style>'
