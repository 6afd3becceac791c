from __future__ import annotations

import pytest
from tests.wallet.cards import NOW, PASS_TYPE, TEAM

from rxdesk.wallet.apple.certificates import PassSigner, load_signer
from rxdesk.wallet.apple.trial import TrialFiles, create_chain


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    return create_chain(tmp_path_factory.mktemp("chain"), PASS_TYPE, TEAM, NOW)


@pytest.fixture(scope="session")
def signer(chain: TrialFiles) -> PassSigner:
    return load_signer(chain.pass_certificate, chain.pass_key, chain.intermediate)
