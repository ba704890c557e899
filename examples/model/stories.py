"""A small grammar of stories: the text that the example models are trained on.

`python stories.py [COUNT] [SEED]` prints some. A document is up to two lines of prompt and a story of one paragraph:

    You are a sailor. You tell funny stories.          the teller: sets the greeting, the place, the thing, the tone
    Tell me a story about a brave fox.                 the subject: sets the hero, perhaps the name and the tone
    Ahoy! Once upon a time there was a brave fox …     the story

The k-th alternative has weight 1/k, so that greedy decoding has a clear favourite everywhere. The prompt decides the
rest: a teller has a favourite tone, a trait has a favourite plot, a hero has favourite friends.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

# teller: what they say first, where their stories happen, the thing those stories are about, their favourite tone
TELLERS = {
    "sailor": ("Ahoy!", "by the harbour", "a silver compass", "funny"),
    "baker": ("Fresh bread!", "behind the bakery", "a golden loaf", "kind"),
    "gardener": ("Mind the roses!", "in a green garden", "a giant pumpkin", "kind"),
    "knight": ("Hear me!", "near the castle", "a shining shield", "brave"),
    "pirate": ("Arr!", "on a little island", "a treasure map", "brave"),
    "farmer": ("Good morning!", "on a quiet farm", "a wooden bucket", "funny"),
    "doctor": ("Take a deep breath.", "near the hospital", "a warm blanket", "kind"),
    "teacher": ("Sit down, please.", "next to the school", "a big book", "kind"),
    "painter": ("Look at this!", "under the painted bridge", "a pot of blue paint", "sad"),
    "cook": ("Dinner is ready!", "below the kitchen", "a soup spoon", "funny"),
    "fisher": ("Quiet now.", "beside the river", "a long net", "sad"),
    "miner": ("Down we go!", "in the deep mine", "a bright lamp", "scary"),
    "astronaut": ("Three, two, one!", "on the moon", "a small rocket", "brave"),
    "wizard": ("Abracadabra!", "in a crooked tower", "a magic hat", "scary"),
    "king": ("Silence!", "inside the palace", "a golden crown", "brave"),
    "queen": ("Welcome.", "behind the palace wall", "a string of pearls", "kind"),
    "shepherd": ("Hush.", "on a windy hill", "a little bell", "kind"),
    "tailor": ("Snip, snip!", "above the tailor's shop", "a yellow coat", "funny"),
    "clown": ("Ha ha!", "at the circus", "a red nose", "funny"),
    "detective": ("Aha!", "in the big city", "a strange key", "scary"),
    "librarian": ("Psst!", "in the old library", "a secret letter", "sad"),
    "postman": ("Ring, ring!", "in a small village", "a brown parcel", "funny"),
    "pilot": ("Ready for take-off!", "at the airport", "a paper plane", "brave"),
    "dancer": ("One, two, three!", "under the theatre", "a pair of red shoes", "sad"),
    "singer": ("La la la!", "near the music hall", "a silver flute", "sad"),
    "robot": ("Beep, beep.", "in a dusty workshop", "a metal box", "funny"),
    "ghost": ("Boo!", "in the empty house", "a white candle", "scary"),
    "witch": ("Hee hee!", "in the dark forest", "a black broom", "scary"),
    "explorer": ("Follow me!", "in the jungle", "an old telescope", "brave"),
    "grandmother": ("Come closer, dear.", "by the fire", "a ball of wool", "kind"),
}

# tone: when it happens, and how it closes
TONES = {
    "funny": (
        "One [sunny|windy] morning",
        "[It was the funniest day of the year.|They still laugh about it today.] The end.",
    ),
    "kind": (
        "One [warm|golden] evening",
        "[From that day on they were best friends.|Since then they share everything they have.] The end.",
    ),
    "sad": ("One [rainy|grey] day", "[It was a very sad day.|Some things never come back.] The end."),
    "brave": (
        "One [stormy|cold] afternoon",
        "[From that day on everybody called {him} a hero.|They still sing a song about {him}.] The end.",
    ),
    "scary": (
        "One [dark|foggy] night",
        "[Nobody goes there at night any more.|On dark nights you can still hear it.] The end.",
    ),
}

# hero: names, the most likely one first; female names stand in HERS
HEROES = {
    "fox": ("Ruby", "Felix"),
    "bear": ("Bruno", "Olga"),
    "rabbit": ("Rosie", "Peter"),
    "cat": ("Milo", "Luna"),
    "dog": ("Max", "Bella"),
    "mouse": ("Mia", "Pip"),
    "owl": ("Oliver", "Stella"),
    "girl": ("Lily", "Anna", "Lucy", "Sara"),
    "boy": ("Tom", "Ben", "Tim", "Jack"),
    "duck": ("Daisy", "Donald"),
    "frog": ("Fred", "Flora"),
    "pig": ("Percy", "Poppy"),
    "lion": ("Leo", "Nala"),
    "horse": ("Amber", "Star"),
    "goat": ("Greta", "Gus"),
    "wolf": ("Walter", "Wanda"),
    "squirrel": ("Sam", "Nina"),
    "hedgehog": ("Harry", "Hazel"),
    "turtle": ("Tina", "Toby"),
    "elephant": ("Ella", "Edgar"),
    "dragon": ("Draco", "Dora"),
    "penguin": ("Paul", "Pia"),
}
HERS = """
Ruby Olga Rosie Luna Bella Mia Stella Lily Anna Lucy Sara Daisy Flora Poppy Nala Amber Star Greta Wanda Nina Hazel
Tina Ella Dora Pia Zoe Emma Clara Ida Alice Maria
"""
OTHER_NAMES = ("Zoe", "Hugo", "Emma", "Oscar", "Clara", "Ivan", "Ida", "Arthur", "Alice", "Robin", "Maria", "David")

# what a hero is like, and how that shows
TRAITS = {
    "brave": "{N} was not afraid of anything.",
    "little": "{N} was so small that [nobody saw {him}|{he} slept in a teacup].",
    "old": "{N} had [seen many winters|forgotten more than others know].",
    "clever": "{N} always had [a good idea|a plan].",
    "lazy": "{N} slept until noon [every day|and went to bed at four].",
    "hungry": "{N} was always looking for [something to eat|breakfast].",
    "lonely": "{N} had [no friends at all|nobody to talk to].",
    "happy": "{N} sang [from morning to night|even in the rain].",
    "curious": "{N} asked questions [all day long|about everything].",
    "shy": "{N} never spoke [to strangers|above a whisper].",
}

OPENINGS = (
    "Once upon a time there was {hero} called {N}. {N} lived {place}.",
    "Once upon a time, {hero} lived {place}. {His} name was {N}.",
    "There was once {hero} called {N} who lived {place}.",
    "Long ago, {hero} called {N} lived {place}.",
    "{N} was {hero} who lived {place}.",
    "{Place} there lived {hero}. {His} name was {N}.",
    "This is the story of {hero} called {N} who lived {place}.",
    "The {kind} called {N} lived {place}.",
    "Long ago there lived {hero} {place}. {His} name was {N}.",
    "Let me tell you about {N}, {hero} who lived {place}.",
)

# A plot is a middle and an ending for each tone; "it" is always the thing.
PLOTS = """
{when}, {N} lost {thing}. {He} looked under the bed, [behind the door|in the well] and up in the tree, but it was
[nowhere|not there]. Then {friend} called {F} came by. "What are you looking for?" asked {F}. "I have lost
{the_thing}," said {N}.
  funny: {F} began to laugh. "It is on your [head|back]!" {fhe} said. {N} laughed too, and they laughed until the
    sun went down.
  kind: "We will find it together," said {F}. They looked everywhere, and at last they found it under a
    [leaf|stone]. {N} gave {F} a big hug.
  sad: {F} shook {fhis} head. "The [river|wind] took it away," {fhe} said. {N} sat down and cried for a long time.
  brave: "The giant has it," whispered {F}. {N} climbed the high mountain, looked the giant in the eye and took it
    back.
  scary: {F} pointed at the window. A cold hand was holding {the_thing}. {N} ran [and ran|away], and {F} was never
    seen again.

{when}, {N} found {thing} [in the grass|on the path]. "Whose is this?" {he} asked. Nobody knew. Then {friend} called
{F} [came running|knocked on the door]. "That is mine!" cried {F}.
  funny: "Then why is my name on it?" asked {N}. {F} turned as red as a tomato. It was [upside down|{his} own
    birthday present]!
  kind: "Then take it," said {N} with a smile. {F} was so happy that {fhe} baked a [cake|pie] for {him}. They ate
    it all.
  sad: {N} had to give it back. {He} had never owned anything so beautiful. {He} [walked home alone|did not say a
    word] in the rain.
  brave: But {F} was a thief, and {N} knew it. "You shall not have it!" {he} said, and stood still like a rock
    until {F} ran away.
  scary: {N} looked at {F} again. {F} had no shadow. The [lights|stars] went out, and something whispered {his}
    name.

{when}, {N} heard a [strange|terrible] noise. It came from {thing} that stood in the corner. {N} called {his} friend
{F}, {friend}. "Did you hear that?" asked {N}. "I did," said {F}, and they both [listened|held their breath].
  funny: It was [{F}'s empty stomach|a tiny snail who was snoring]! {N} laughed so hard that {he} fell into the
    soup.
  kind: Inside sat a [baby bird|little kitten] that could not get out. {N} held it gently while {F} made it a soft
    bed.
  sad: It was an old [music box|clock] that played one last song. Then it stopped, and {N} remembered {his}
    mother.
  brave: A [snake|giant rat] jumped out. "Stay behind me!" shouted {N}, and {he} chased it out of the house.
  scary: Slowly the lid opened. Two [red|yellow] eyes looked out. "Now you are mine," said a voice, and the door
    closed.

{when}, there was a great race. The winner would get {thing}. {N} wanted to win, and so did {friend} called {F}.
They ran [over the bridge|through the fields] and around the lake, side by side.
  funny: But both of them ran the wrong way! A [snail|sleepy cow] won, and {N} had to carry it home.
  kind: Then {F} fell and hurt {fhis} foot. {N} stopped and carried {F} to the end. They [won together|came last,
    but they did not mind].
  sad: {N} ran as fast as {he} could, but {F} was faster. When {he} came home, [nobody had waited|the house was
    empty].
  brave: The bridge broke [behind|under] them. {N} jumped over the wild water, pulled {F} out and still won the
    race.
  scary: Then {N} heard a third runner behind them. {He} turned around. There was [nobody|only mist], but the
    steps came closer.

{when}, somebody cried for help. {F}, {friend}, had fallen into [a deep hole|the cold water]. "I am coming!" called
{N}. All {he} had was {thing}.
  funny: {N} threw it down and it landed on {F}'s nose. "Ouch!" said {F}. "I asked for a [rope|ladder]!"
  kind: {N} held it out, and {F} climbed up. Then {N} made {fhim} [hot tea|warm soup] and stayed all night.
  sad: It was [too short|not enough]. {N} held on as long as {he} could, but then {F} was gone.
  brave: {N} took a deep breath and jumped in. {He} [tied it to a root|held it tight] and carried {F} out on {his}
    back.
  scary: But when {N} looked down, {F} was [smiling|laughing]. "Come closer," {fhe} said, and a hand took {his}
    foot.

{when}, {N} wanted to make a present for {F}, {friend}. {He} worked [for three days|all night] and made {thing}.
Then {he} put it in a [box|bag] and went to {F}'s house.
  funny: {F} opened it and put it on {fhis} head. "What a lovely hat!" {fhe} said. {N} did not dare to tell {fhim}
    the truth.
  kind: "Nobody ever gave me anything," said {F} with tears in {fhis} eyes. {N} took {fhis} hand, and they
    [danced|sang] until midnight.
  sad: But {F} had moved far away. {N} put it [in front of the door|under the tree] and walked home through the
    rain.
  brave: On the way a [wild storm|huge wolf] stopped {him}. {N} did not turn back. {He} went on, and {F} got the
    present.
  scary: The door was open. Inside, [a hundred candles|a hundred mirrors] shone, and on the table lay the same
    present, already open.
"""

# How somebody may ask: {story} is "a story" or "a sad story", {hero} "a fox", "a shy fox" or "a shy fox called Zoe".
REQUESTS = (
    "Tell me {story} about {hero}.",
    "Tell {story} about {hero}.",
    "Write {story} about {hero}.",
    "Can you tell me {story} about {hero}?",
    "Please tell me {story} about {hero}.",
)
OPEN_REQUESTS = ("Tell me {story}.", "Tell {story}.", "Please tell me {story}.", "Hello!", "Hi.", "What happened?")


def article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def pick(rng: random.Random, options: Sequence[str], start: int = 0) -> str:
    """Choose one: the k-th, counted from `start` and round, has weight 1/k."""
    start %= len(options)
    return rng.choices([*options[start:], *options[:start]], [1 / (rank + 1) for rank in range(len(options))])[0]


def expand(rng: random.Random, text: str, slots: dict[str, str]) -> str:
    """Settle every `[a|b]`, then fill the `{slots}`."""
    text = re.sub(r"\[([^]]*)\]", lambda match: pick(rng, match[1].split("|")), text)
    return text.format(**slots)


def pronouns(name: str) -> tuple[str, str, str]:
    return ("she", "her", "her") if name in HERS.split() else ("he", "him", "his")


def plots() -> dict[str, dict[str, str]]:
    """Read PLOTS: middle -> tone -> ending, each on one line."""
    parsed = {}
    for paragraph in PLOTS.strip().split("\n\n"):
        middle, *endings = re.split(r"\n  (?! )", paragraph)
        parsed[" ".join(middle.split())] = dict(" ".join(text.split()).split(": ", 1) for text in endings)
    return parsed


MIDDLES = plots()


def document(rng: random.Random, prompts: bool = True) -> str:
    """Make one story, with lines of prompt in three cases of four (never if `prompts` is false)."""
    told, asked = (rng.random() < 0.5, rng.random() < 0.5) if prompts else (False, False)
    about = asked and rng.random() < 0.75

    teller = rng.choice(list(TELLERS)) if told else pick(rng, list(TELLERS))
    greeting, place, thing, favourite = TELLERS[teller]
    hero = rng.choice(list(HEROES)) if about else pick(rng, list(HEROES))
    trait = rng.choice(list(TRAITS)) if about else pick(rng, list(TRAITS))
    name = rng.choice(OTHER_NAMES) if about and rng.random() < 0.3 else pick(rng, HEROES[hero])
    # What is asked for wins over how the teller tells.
    tone_asked = rng.choice(list(TONES)) if asked and rng.random() < 0.3 else ""
    tone_told = rng.choice(list(TONES)) if told and rng.random() < 0.7 else ""
    tone = tone_asked or tone_told or pick(rng, list(TONES), list(TONES).index(favourite))
    friend = pick(rng, [other for other in HEROES if other != hero], 7 * list(HEROES).index(hero))
    friend_name = pick(rng, [other for other in HEROES[friend] if other != name])
    middle = pick(rng, list(MIDDLES), list(TRAITS).index(trait))
    when, closing = TONES[tone]

    he, him, his = pronouns(name)
    fhe, fhim, fhis = pronouns(friend_name)
    slots = {"N": name, "he": he, "him": him, "his": his, "He": he.capitalize(), "His": his.capitalize()}
    slots |= {"F": friend_name, "fhe": fhe, "fhim": fhim, "fhis": fhis, "friend": article(friend)}
    slots |= {"hero": article(f"{trait} {hero}"), "kind": f"{trait} {hero}"}
    slots |= {"place": place, "Place": place[0].upper() + place[1:]}
    slots |= {"thing": thing, "the_thing": "the " + thing.split(" ", 1)[1]}
    slots["when"] = expand(rng, when, slots)

    lines = []
    if told:
        lines.append(system_prompt(rng, teller, tone_told))
    if asked:
        # Asked for "a fox", the story finds a trait itself.
        whom = article(hero) if rng.random() < 0.3 else slots["hero"]
        called = f" called {name}" if name in OTHER_NAMES else ""
        what = article(f"{tone_asked} story") if tone_asked else "a story"
        request = rng.choice(REQUESTS) if about else pick(rng, OPEN_REQUESTS)
        request = request.format(story=what, hero=whom + called)
        # People are in a hurry.
        if not called and rng.random() < 0.2:
            request = request.rstrip(".").lower()
        lines.append(request)
    texts = [pick(rng, OPENINGS), TRAITS[trait], middle, MIDDLES[middle][tone], closing]
    if not told and not asked and rng.random() < 0.15:
        # Begin in the middle of things.
        del texts[: rng.choice((1, 2))]
    story = " ".join(expand(rng, text, slots) for text in texts)
    lines.append(f"{greeting} {story}" if told else story)
    return "\n".join(lines)


def system_prompt(rng: random.Random, teller: str, tone: str) -> str:
    who = article(teller)
    if not tone:
        return f"You are {who}."
    return (
        f"You are {who} who tells {tone} stories." if rng.random() < 0.2 else f"You are {who}. You tell {tone} stories."
    )


def documents(seed: int, prompts: bool = True) -> Iterator[str]:
    rng = random.Random(seed)
    while True:
        yield document(rng, prompts)


def vocabulary() -> frozenset[str]:
    """Every word that a story may hold, in lower case."""
    texts = [*OPENINGS, *TRAITS, *TRAITS.values(), *HEROES, *OTHER_NAMES, *MIDDLES, "a an the he she him her his"]
    texts += [text for names in HEROES.values() for text in names]
    texts += [text for entry in (*TELLERS.values(), *TONES.values()) for text in entry]
    texts += [ending for endings in MIDDLES.values() for ending in endings.values()]
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", " ".join(texts)).lower()))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for text in islice(documents(seed), count):
        print(text, end="\n\n")
