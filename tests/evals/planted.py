"""A synthetic model in which every effect is planted, so that every trial that can pass must pass on it.

Words are whole tokens. Every word has one of many features, and each feature is a direction. A neuron that reads one
feature is heavy-tailed, and a random direction is not, because it is a mixture of all features. All words share one
more direction, which turns neurons off. One half of all words has a direction of its own, and the other half its
opposite; some neurons write it. Every head attends to one feature, a quarter of them to the first token where that
feature is missing, those of the last layer to BOS, which has all of theirs, and one to the token before. One direction
is larger the further on a token is; some neurons of the first layer read it, others of the last write how frequent
tokens are. Words that begin with the same letter share a direction, and one neuron of the first layer reads it.
Another seed draws other directions and has its neurons in another order, but words keep their features, so its neurons
fire on the same words. Shuffling or rotating destroys all effects.
"""

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pytest_unineuron.corpora import number_words
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.models.published import TABLES_FOLDER

FREQUENCY = 1.0
WIDTH, LAYERS, HEADS, NEURONS, FEATURES = 128, 2, 16, 600, 224
NUMBER_NEURONS = 10
READERS = NEURONS * 7 // 10
STRENGTH, SHARED, PARTED = 12.0, 4.0, 4.0
PARTITION_NEURONS = 12
FREQUENCY_NEURONS = 4
BOS_STRENGTH = 4.0
ALONG_QUERIES = 48
RAMP = 8.0
LETTERS, LETTER = "abcdefghijklmnopqrstuvwxyz", 3.0
PERIODS = (3, 5, 7, 11)
"""Positions are the angles of as many clocks, so that a rotation leads to the position before."""


def tokenizer():
    """A tokenizer of whole words, with the space before them, over the bundled corpora and the probe."""
    texts = [d.text for name in ("prose", "news", "code", "multilingual") for d in find_corpus(name).documents]
    texts += [d.text for d in number_words.corpus().documents]
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s?\w+|\s?[^\w\s]|\s+"), "isolated")
    made.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["<s>", "<unk>"], vocab_size=40_000))
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", unk_token="<unk>")


def save(folder, seed=0, *, layers=LAYERS, bos_neurons=0, position_neurons=12, to_heads=False):
    """Write the planted model to a folder.

    So many neurons of the first layer move the attention to BOS. They write so much more than others that a control
    with shuffled weights has heavy tails, so they are for a model of their own. So are more layers, whose neurons have
    fewer features to read, and more neurons that go with position, which are universal and tell nothing of words. With
    ``to_heads`` all neurons write what a head of the next layer reads.
    """
    words, random = tokenizer(), torch.Generator().manual_seed(seed)
    config = GPT2Config(
        n_layer=layers,
        n_embd=WIDTH,
        n_head=HEADS,
        n_inner=NEURONS,
        n_positions=256,
        vocab_size=len(words),
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(config)
    features = torch.nn.functional.normalize(torch.randn(FEATURES + 2, WIDTH, generator=random), dim=1)
    own, others = torch.randn(3, WIDTH, generator=random), torch.Generator().manual_seed(seed + 100)
    drawn = torch.cat([own, torch.randn(6 + 2 * len(PERIODS), WIDTH, generator=others)])
    basis = torch.linalg.qr(centred(drawn).T).Q.T
    hidden, frequency, start, clocks, parting, ramp, spelling = basis.split((2, 1, 1, 2 * len(PERIODS), 1, 1, 3))
    letters = letter_points() @ spelling
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(0.05)  # or every prediction would be certain
        embedding = model.transformer.wte.weight
        plant_words(embedding, words, features, random)
        # No word has a part in the hidden directions, and none but its frequency in that of frequency.
        embedding.sub_(embedding @ frequency.T @ frequency)
        logs = (counts(words)[:, None] + 1.0).log()
        embedding.add_(FREQUENCY * ((logs - logs.mean()) / logs.std()).clamp_max(8) * frequency)
        # The unembedding reads hidden ones least.
        for empty, share in ((hidden, 1), (start, 1), (clocks, 0.85), (ramp, 0.85), (spelling, 1)):
            embedding.sub_(share * embedding @ empty.T @ empty)
        halves = 1 - 2 * (torch.arange(len(words)) // FEATURES % 2)[:, None]
        embedding.add_(PARTED * halves * parting)
        embedding.add_(LETTER * first_letters(words) @ letters)
        # All heads of the last layer have a key for BOS that is larger than that of most words, as sinks have.
        of_heads = features[(layers - 1) * HEADS : layers * HEADS]
        embedding[0] = STRENGTH * (start[0] + torch.nn.functional.normalize(of_heads.pinverse().sum(dim=1), dim=0))
        # The stream has no part along frequency, or neurons that write it would act through the scale of the last norm.
        model.lm_head.weight.copy_(embedding)
        embedding.sub_(embedding @ frequency.T @ frequency)
        # Without positions, the few most frequent words would make some random directions heavy-tailed.
        places = model.transformer.wpe.weight
        places.copy_(0.5 * torch.randn(256, WIDTH, generator=random))
        places.sub_(places @ clocks.T @ clocks).add_(clock_faces(torch.arange(256)) @ clocks)
        places.add_(torch.linspace(-RAMP, RAMP, 256)[:, None] * ramp)
        for number, block in enumerate(model.transformer.h):
            # Layers have different features, so that partners in other seeds are in the same layer.
            plant_neurons(block.mlp, features, list(range(number, FEATURES, layers)), random)
            plant_writers(block.mlp, number, features, last=number == layers - 1)
            write = block.mlp.c_proj.weight
            sides = torch.tensor([1.0, -1.0]).repeat(PARTITION_NEURONS // 2)[:, None]
            write[READERS : READERS + PARTITION_NEURONS] = write.norm(dim=1).mean() * sides * parting
            if number == layers - 1:
                along = torch.cat([4 * hidden, 4 * hidden[:1], *[frequency] * FREQUENCY_NEURONS])
                write[-len(along) :] = write.norm(dim=1).mean() * along
            else:
                plant_position_neurons(block.mlp, ramp[0], position_neurons)
                plant_letter_neurons(block.mlp, letters, features[-1])
                # Queries of all heads read the shared direction, so it raises what BOS gets of their attention.
                write[:bos_neurons] = BOS_STRENGTH * sides[:bos_neurons] * features[-1]
                if to_heads:
                    read = features[(number + 1) * HEADS + torch.arange(NEURONS) % HEADS] + features[-1]
                    write.copy_(write.norm(dim=1).mean() * torch.nn.functional.normalize(read, dim=1))
            if seed:
                shuffle_neurons(block.mlp, random)
            plant_heads(block.attn, features[number * HEADS : (number + 1) * HEADS], features[-1], start[0], random)
        plant_previous_token_head(model.transformer.h[0].attn, clocks)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def counts(words):
    """How often each token is in the reference corpus."""
    ids = [token for document in find_corpus("prose").documents for token in words(document.text).input_ids]
    return torch.bincount(torch.tensor(ids), minlength=len(words))


def publish(checkout):
    """Write tables like those of the paper, which name the neurons with a planted feature of a model ``planted``.

    The excess is largest for the last five of the last layer. Two of these have the wrong sign of skew.
    """
    folder = checkout / TABLES_FOLDER / "planted"
    folder.mkdir(parents=True)
    neurons = [(layer, neuron) for layer in range(LAYERS) for neuron in range(READERS)]
    rows = [f"{layer},{i},-0.1,{-1 if i >= READERS - 2 else 1},9,{layer}.{i:03d}" for layer, i in neurons]
    columns = "layer,neuron,input_bias,skew,kurt,excess_corr"
    (folder / "universal.csv").write_text("\n".join([columns, *rows]), encoding="utf-8")


def centred(vectors):
    """Vectors without their mean, which a layer norm removes."""
    return vectors - vectors.mean(dim=1, keepdim=True)


def plant_words(embedding, words, features, random):
    """Give every word a feature, numbers a feature of their own, and all words the shared direction."""
    vocabulary = words.get_vocab()
    numbers = {token for word, token in vocabulary.items() if word.strip() in number_words.NUMBERS}
    which = torch.tensor([FEATURES if t in numbers else t % FEATURES for t in range(len(embedding))])
    embedding.copy_(torch.randn(embedding.shape, generator=random))
    # A few dimensions are sparse, so that the basis is privileged.
    sparse = torch.rand(len(embedding), 6, generator=random) < 0.02
    embedding[:, :6] = torch.where(sparse, 6.0, 0.8 * embedding[:, :6])
    strength = torch.where(
        which == FEATURES, 6.0, STRENGTH
    )  # if they were stronger, rotated units would have the effect too
    embedding.add_(strength[:, None] * features[which] + SHARED * features[-1])


def first_letters(words):
    """Which letter every token begins with, [token, letter] of 0 and 1."""
    first = {token: word.strip()[:1].lower() for word, token in words.get_vocab().items()}
    return torch.tensor([[float(first[token] == letter) for letter in LETTERS] for token in range(len(first))])


def letter_points():
    """A point of a sphere for every letter, far from all others, [letter, 3]: a Fibonacci lattice."""
    number = torch.arange(len(LETTERS))
    angle, height = torch.pi * (3 - 5**0.5) * number, 1 - (2 * number + 1) / len(LETTERS)
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], dim=1)


def plant_letter_neurons(mlp, letters, shared):
    """Let the last of the readers read one letter each instead of a feature."""
    mlp.c_fc.weight[:, READERS - len(LETTERS) : READERS] = (letters - 0.4 * shared).T


def plant_neurons(mlp, features, own, random):
    """Let most neurons read one feature with a lower bias, and let the shared direction turn all of them off."""
    read = torch.nn.functional.normalize(torch.randn(NEURONS, WIDTH, generator=random), dim=1)
    bias = 0.07 + 0.02 * torch.randn(NEURONS, generator=random)
    chosen = torch.tensor(own)[torch.randperm(len(own), generator=random)]
    read[:READERS] = features[chosen[torch.arange(READERS) % len(own)]]
    read[:NUMBER_NEURONS] = features[FEATURES]
    bias[:READERS] -= 0.16
    read -= 0.4 * features[-1]
    mlp.c_fc.weight.copy_(read.T)
    mlp.c_fc.bias.copy_(bias)
    mlp.c_proj.weight.mul_(0.1)


def shuffle_neurons(mlp, random):
    """Put the neurons of a layer in another order, as those of another training seed are."""
    order = torch.randperm(NEURONS, generator=random)
    mlp.c_fc.weight.copy_(mlp.c_fc.weight[:, order].clone())
    mlp.c_fc.bias.copy_(mlp.c_fc.bias[order].clone())
    mlp.c_proj.weight.copy_(mlp.c_proj.weight[order].clone())


def plant_writers(mlp, number, features, *, last):
    """Let readers of a feature write it, which raises the logits of its words; in the last layer, most lower them.

    In the first two, some write what the queries of all heads of the next layer read, or the values of one.
    """
    size = mlp.c_proj.weight.norm(dim=1).mean()
    written = torch.nn.functional.normalize(mlp.c_fc.weight[:, :READERS].T, dim=1)
    if last:
        written = torch.nn.functional.normalize(mlp.c_fc.weight[:, :READERS].T + 0.4 * features[-1], dim=1)
        written[torch.arange(READERS) % 8 > 0] *= -1
    elif number < 2:
        heads = features[(number + 1) * HEADS + torch.arange(READERS) % HEADS]
        to_heads = torch.arange(READERS) >= READERS * 6 // 10
        written[to_heads] = heads[to_heads]
        along_queries = slice(READERS * 6 // 10, READERS * 6 // 10 + ALONG_QUERIES)
        written[along_queries] = torch.nn.functional.normalize(heads / 2 + features[-1], dim=1)[along_queries]
        written[READERS * 6 // 10 :: 2] *= -1
        others = slice(READERS * 4 // 10, READERS * 6 // 10)
        written[others] = mlp.c_proj.weight[others] / size
    mlp.c_proj.weight[:READERS] = size * written


def plant_position_neurons(mlp, ramp, count):
    """Let the last neurons read how far a token is from the end of the context."""
    mlp.c_fc.weight[:, -count:] = -ramp[:, None]


def plant_heads(attention, features, shared, start, random):
    """Let every head attend to one feature: queries read the shared direction, and keys and values the feature.

    The keys of the last quarter of heads read the first token twice as well.
    """
    size, weight = WIDTH // HEADS, attention.c_attn.weight  # [width, query | key | value]
    for head in range(HEADS):
        line = torch.randn(size, generator=random)
        key = features[head] + 2 * start * (head >= HEADS * 3 // 4)
        for part, read in ((0, shared), (WIDTH, key)):
            rows = slice(part + head * size, part + (head + 1) * size)
            weight[:, rows] = 0.3 * torch.outer(read, line) + 0.01 * torch.randn(WIDTH, size, generator=random)
        rows = slice(head * size, (head + 1) * size)
        line = torch.randn(size, generator=random)
        weight[:, 2 * WIDTH :][:, rows] = torch.outer(features[head], line)
        # It writes the feature that it reads.
        attention.c_proj.weight[rows] = 0.005 * torch.outer(line, features[head])


def clock_faces(position):
    """The cosine and sine of the angle of every clock at some positions, [position, 2 · clock]."""
    angle = 2 * torch.pi * position[:, None] / torch.tensor(PERIODS)
    return torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)


def plant_previous_token_head(attention, clocks):
    """Let the queries of the first head read clocks one step back, and its keys read them as they are."""
    size, weight = WIDTH // HEADS, attention.c_attn.weight
    back = torch.block_diag(*(torch.tensor([[c, -s], [s, c]]) for c, s in clock_faces(torch.tensor([1])).view(-1, 2)))
    weight[:, :size], weight[:, WIDTH : WIDTH + size] = 8 * clocks.T @ back, 8 * clocks.T
