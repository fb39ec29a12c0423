"""Templates against a slow loop of IJB's definition; 1:1 and 1:N against scikit-learn and sorted lists."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_embeddings import unit
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from subspace.mining.errors import InputError
from subspace.mining.evaluation import templates as module
from subspace.mining.evaluation.templates import Templates, identify_templates, template_embeddings
from subspace.mining.evaluation.verification import verify_pairs


def lists(seed: int, templates: int = 60, d: int = 12) -> tuple[np.ndarray, ...]:
    """Embeddings, and per list row its template, medium and image; images are in several templates."""
    rng = np.random.default_rng(seed)
    subject = rng.integers(templates // 3, size=templates)
    means = rng.standard_normal((templates // 3, d))
    size = rng.integers(1, 8, templates)
    template = np.repeat(rng.permutation(templates) * 3 + 5, size)
    owner = np.repeat(subject, size)
    rows = means[owner] + 1.5 * rng.standard_normal((len(owner), d))
    media, order = rng.integers(4, size=len(owner)), rng.permutation(len(owner))
    who = dict(zip(template.tolist(), owner.tolist(), strict=True))
    return unit(rows), template[order], media[order], order, who


def slow_templates(
    rows: np.ndarray, template: np.ndarray, media: np.ndarray, image: np.ndarray, weight: np.ndarray
):
    """Template by template and medium by medium, in float64."""
    found = {}
    for which in sorted(set(template.tolist())):
        total = 0.0
        for medium in set(media[template == which].tolist()):
            of_it = (template == which) & (media == medium)
            total = total + np.mean(
                [rows[i].astype(np.float64) * w for i, w in zip(image[of_it], weight[of_it], strict=True)],
                axis=0,
            )
        found[which] = normalize(np.array([total]))[0]
    return found


@pytest.mark.parametrize("at_once", [1, 7, 2**15])
def test_embeddings_are_those_of_a_slow_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    rows, template, media, image, _ = lists(0)
    weight = np.random.default_rng(1).random(len(template)) + 0.1
    for scale in (None, weight):
        found = template_embeddings(rows, template, media, image=image, weight=scale)
        wanted = slow_templates(
            rows, template, media, image, np.ones(len(template)) if scale is None else scale
        )
        assert found.template_id.tolist() == list(wanted)
        np.testing.assert_allclose(found.rows, np.array(list(wanted.values())), atol=1e-6)


def test_one_to_one_is_scikit_learn_s() -> None:
    rows, template, media, image, who = lists(2)
    found = template_embeddings(rows, template, media, image=image)
    rng = np.random.default_rng(0)
    first, second = rng.choice(found.template_id, (2, 4000))
    kept = first != second
    first, second = first[kept], second[kept]
    a, b = (np.array([who[t] for t in side.tolist()]) for side in (first, second))
    similarity = found.similarity(first, second)
    np.testing.assert_allclose(similarity, (found.of(first) * found.of(second)).sum(axis=1), atol=1e-6)
    measured = verify_pairs(similarity, a == b, (1e-1, 1e-2), identities=(a, b), bootstrap=20)
    fpr, tpr, _ = roc_curve(a == b, similarity, drop_intermediate=False)
    for metric in measured.tars:
        assert metric.value == pytest.approx(tpr[fpr <= metric.far].max(), abs=1e-6)
        assert metric.low <= metric.value <= metric.high


def test_one_to_many_is_what_sorted_lists_give() -> None:
    rng = np.random.default_rng(3)
    means = rng.standard_normal((30, 12))
    probe_subject = np.repeat(np.arange(30), 3)
    probe = unit(means[probe_subject] + 0.8 * rng.standard_normal((90, 12)))
    sides = {"G1": np.arange(15), "G2": np.arange(15, 30)}
    galleries = {
        name: (unit(means[who] + 0.8 * rng.standard_normal((15, 12))), who) for name, who in sides.items()
    }
    found = identify_templates(probe, probe_subject, galleries, ks=(1, 5), fars=(0.1,), bootstrap=20)
    assert list(found) == ["G1", "G2", "joined", "mean"]
    rates = {}
    for name, (rows, who) in galleries.items():
        similarity = probe @ rows.T
        known = np.isin(probe_subject, who)
        place = [
            list(who[np.argsort(-row)]).index(s)
            for row, s in zip(similarity[known], probe_subject[known], strict=True)
        ]
        strangers = np.sort(similarity[~known].max(axis=1))[::-1]
        threshold = strangers[int(0.1 * len(strangers))]
        hits = [p == 0 and row.max() > threshold for p, row in zip(place, similarity[known], strict=True)]
        rates[name] = [np.mean(np.array(place) < 1), np.mean(np.array(place) < 5), np.mean(hits)]
        assert [metric.name for metric in found[name]] == ["Rank-1", "Rank-5", "DIR@FAR=1e-1"]
        np.testing.assert_allclose([metric.value for metric in found[name]], rates[name], atol=1e-6)
    np.testing.assert_allclose(
        [m.value for m in found["mean"]], np.mean(list(rates.values()), axis=0), atol=1e-6
    )
    everybody = np.concatenate([rows for rows, _ in galleries.values()])
    best = np.argmax(probe @ everybody.T, axis=1) == probe_subject
    assert found["joined"][0].value == pytest.approx(best.mean(), abs=1e-6)
    assert len(found["joined"]) == 2, "nobody is a stranger there"


def test_what_has_no_embedding_is_one_line() -> None:
    rows = np.eye(3, dtype=np.float32)
    for given, line in (
        ({"embeddings": rows, "template_id": [], "media_id": [], "image": []}, "there are no templates"),
        ({"embeddings": rows, "template_id": [1, 1], "media_id": [1, 1]}, "one entry per list row"),
        (
            {"embeddings": rows, "template_id": [1, 1], "media_id": [1], "image": [0, 1]},
            "one entry per list row",
        ),
        (
            {"embeddings": rows * np.nan, "template_id": [4, 5, 6], "media_id": [1, 1, 1]},
            "template 4 has no direction",
        ),
        (
            {"embeddings": np.array([[1, 0], [-1, 0]]), "template_id": [8, 8], "media_id": [1, 2]},
            "template 8 has no direction",
        ),
    ):
        with pytest.raises(InputError, match=line) as error:
            template_embeddings(**given)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="1 templates that are asked for have no images, the first: 4"):
        Templates(np.array([3, 8]), rows[:2]).of(np.array([3, 4]))
    with pytest.raises(InputError, match="there is no gallery"):
        identify_templates(rows, [1, 2, 3], {})
    with pytest.raises(InputError, match="no probe is of a subject in gallery G1"):
        identify_templates(rows, [1, 2, 3], {"G1": (rows, [7, 8, 9])})
