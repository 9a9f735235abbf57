"""The Chinese documents say what the English ones do: commands, options, names and figures."""

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

import pytest

from tests.support.documents import anchors
from tests.support.places import ROOT

PAIRS = {
    'README.md': 'README_cn.md',
    **{f'doc/{path.name}': f'doc/cn/{path.name}' for path in sorted(ROOT.glob('doc/cn/*.md'))},
}
ENGLISH = {chinese: english for english, chinese in PAIRS.items()}

# Sections that one language has and the other lacks, by file and title, and why.
OWN = {
    'README_cn.md': {
        '国内网络与 AI Studio': 'what readers elsewhere do not need',
        '与 PaddleGAN 和早先移植版的关系': 'of doc/coming-from.md, which has no Chinese version',
    },
}
# Figures in the Chinese text that the English one spells out.
WORDS = {
    '12': 'twelve',
    '16': 'sixteen',
    '20': 'twenty',
    '40': 'forty',
    '200': 'two hundred',
}

TITLE = re.compile(r'^(#+) (.*)', re.M)
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.M | re.S)
CODE = re.compile(r'`([^`\n]+(?:\n[^`\n]+)?)`')
LINK = re.compile(r'\]\(([^)\s]+)\)')
FIGURE = re.compile(r'(?<![A-Za-z\d])\d+(?:\.\d+)?(?:e-?\d+)?')
OPTION = re.compile(r'--[a-z]\w+')


class Facts(NamedTuple):
    """What both languages have in common."""

    titles: list[int]  # level of each section
    blocks: list[tuple[str, list[str]]]  # language and lines, without comments
    tables: list[tuple[int, int]]  # rows, columns
    table_figures: list[Counter[str]]  # of each table
    figures: set[str]  # of the text around them
    options: set[str]
    code: set[str]
    links: set[str]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


def sections(text: str) -> dict[str, str]:
    """The sections of a document by their titles, each without those that follow."""
    blank = BLOCK.sub(lambda found: re.sub(r'[^\n]', ' ', found[0]), text)
    starts = [found.start() for found in TITLE.finditer(blank)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)])]
    return {part.partition('\n')[0].lstrip('#').strip(): part for part in parts}


def shared(name: str, text: str) -> str:
    """A document without the sections that it has for itself."""
    own = OWN.get(name, {})
    parts = sections(text)
    assert own.keys() <= parts.keys(), f'{name}: {own.keys() - parts.keys()}'
    return ''.join(part for title, part in parts.items() if title not in own)


def code_lines(block: str) -> list[str]:
    lines = [re.sub(r'(^|\s+)#\s.*', '', line) for line in block.splitlines()]
    return [re.sub(r'\s+', ' ', line.strip()) for line in lines if line.strip()]


def target(name: str, link: str) -> str:
    """Where a link leads, as a path of the English documents or an address."""
    if link.startswith('http'):
        return link
    place = link.partition('#')[0]
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / place).parts if place else ():
        parts = parts[:-1] if part == '..' else [*parts, part]
    path = '/'.join(parts) or name
    return ENGLISH.get(path, path)


def facts(name: str, text: str) -> Facts:
    text = shared(name, text)
    blocks = [(language, code_lines(block)) for language, block in BLOCK.findall(text)]
    prose = re.sub(r'<!--.*?-->', '', BLOCK.sub('', text))
    links = {target(name, link) for link in LINK.findall(prose)}
    bare = re.sub(r'\]\([^)]*\)', ']', prose)
    code = {re.sub(r'\s+', ' ', words) for words in CODE.findall(bare)}
    tables = re.findall(r'(?:^\|.*\n)+', bare, re.M)
    rest = CODE.sub(' ', re.sub(r'^\|.*\n', '', bare, flags=re.M))
    return Facts(
        titles=[len(marks) for marks, _ in TITLE.findall(prose)],
        blocks=blocks,
        tables=[
            (table.count('\n'), len(re.findall(r'(?<!\\)\|', table.partition('\n')[0])) - 1)
            for table in tables
        ],
        table_figures=[Counter(FIGURE.findall(CODE.sub(' ', table))) for table in tables],
        figures=set(FIGURE.findall(rest)),
        options=set(OPTION.findall(prose)),
        code=code,
        links=links - {name, ENGLISH.get(name, name)},
    )


def spelled(figure: str, english: str) -> bool:
    return figure in WORDS and WORDS[figure] in re.sub(r'\s+', ' ', english).lower()


def differences(english: str, chinese: str, text: str | None = None) -> list[str]:
    """A line for each thing that one of a pair of documents lacks; `text` is the Chinese one's."""
    original = read(english)
    text = read(chinese) if text is None else text
    one, other = facts(english, original), facts(chinese, text)
    found = [
        f'{part}: {english} has {getattr(one, part)}, {chinese} {getattr(other, part)}'
        for part in ('titles', 'tables')
        if getattr(one, part) != getattr(other, part)
    ]
    for mine, yours in zip(one.blocks, other.blocks):
        if mine != yours:
            found.append(f'block: {english} has {mine}, {chinese} {yours}')
    if len(one.blocks) != len(other.blocks):
        found.append(f'{len(one.blocks)} blocks in {english}, {len(other.blocks)} in {chinese}')
    for number, (mine, yours) in enumerate(zip(one.table_figures, other.table_figures), 1):
        missing = {figure for figure in mine - yours if figure not in WORDS}
        extra = {figure for figure in yours - mine if not spelled(figure, original)}
        if missing or extra:
            found.append(f'table {number}: {chinese} lacks {missing}, {english} lacks {extra}')
    for part in ('figures', 'options', 'code', 'links'):
        mine, yours = getattr(one, part), getattr(other, part)
        extra = {thing for thing in yours - mine if not spelled(thing, original)}
        found += [f'{part}: {chinese} lacks {thing}' for thing in sorted(mine - yours)]
        found += [f'{part}: {english} lacks {thing}' for thing in sorted(extra)]
    return found


def test_there_are_pairs():
    assert len(PAIRS) >= 5
    assert not [name for name in PAIRS if not (ROOT / name).exists()]


@pytest.mark.parametrize('english', PAIRS)
def test_both_languages_say_the_same(english):
    assert differences(english, PAIRS[english]) == []


@pytest.mark.parametrize('english', PAIRS)
def test_each_leads_to_the_other(english):
    chinese = PAIRS[english]
    up = '../' if '/' in english else ''
    there = chinese.removeprefix('doc/')
    assert read(english).splitlines()[2] == f'English | [中文]({there})'
    assert read(chinese).splitlines()[2] == f'[English]({up}{PurePosixPath(english).name}) | 中文'


@pytest.mark.parametrize('chinese', PAIRS.values())
def test_links_lead_somewhere(chinese):
    for link in LINK.findall(read(chinese)):
        if link.startswith('http'):
            continue
        place, _, section = link.partition('#')
        path = ROOT / PurePosixPath(chinese).parent / place if place else ROOT / chinese
        assert path.exists(), link
        if section:
            assert section in anchors(path), link


@pytest.mark.parametrize('chinese', OWN)
def test_own_sections_name_options_of_the_english_documents(chinese):
    """Whether these exist is tested there."""
    named = ''.join(path.read_text('utf-8') for path in (ROOT / 'doc').glob('*.md'))
    known = set(OPTION.findall(named + read('README.md')))
    parts = sections(read(chinese))
    for title in OWN[chinese]:
        assert set(OPTION.findall(parts[title])) <= known, title


@pytest.mark.parametrize(
    ('english', 'old', 'new'),
    [
        ('README.md', '--side_by_side\n```', '--side_by_side --cpu\n```'),
        ('README.md', '345 ms', '354 ms'),
        ('README.md', 'requirements-common.txt', 'requirements.txt'),
        ('README.md', '## 局限', '局限'),
        ('doc/animate.md', '`--smooth` |', '`--smooth_motion` |'),
        ('doc/animate.md', '98.0 %', '99.0 %'),
        ('doc/animate.md', '`--faces 3` 只取', '只取'),
        ('doc/animate.md', '约 250 字节', '约 205 字节'),
        ('doc/animate.md', '(../speed.md#engines)', '(../gpu.md)'),
        ('doc/animate.md', '`vox_mobile`', '`vox_mobil`'),
        ('doc/own-data.md', '--steps 200', '--steps 300'),
        ('doc/own-data.md', '12 段', '11 段'),
        ('doc/troubleshooting.md', '--motion_scale 0.6', '--motion_scale 0.5'),
        ('doc/troubleshooting.md', '**19. ', '**18. '),
        ('doc/troubleshooting.md', 'issues/133', 'issues/132'),
        ('doc/train.md', '0.0171 ± 0.0018', '0.0171 ± 0.0019'),
        ('doc/train.md', '  clip_grad_norm: 10', '  clip_grad_norm: 1'),
        ('doc/train.md', '| 相对运动 | 0.318 ± 0.042 | 0.0186 ± 0.0018 |\n', ''),
    ],
)
def test_what_differs_is_found(english, old, new):
    chinese = PAIRS[english]
    text = read(chinese)
    assert old in text
    assert differences(english, chinese, text.replace(old, new, 1)) != []
