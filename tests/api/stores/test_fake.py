from leasehold.api.stores.fake import FakeProvider

CANARY = "correct horse battery staple"


def test_values_stay_out_of_reprs():
    provider = FakeProvider.model_validate({"data": [{"key": "a", "value": CANARY}]})
    assert provider.data[0].value == CANARY
    assert CANARY not in repr(provider)
    assert CANARY not in f"{provider}"


def test_the_result_of_a_check_is_optional():
    assert FakeProvider.model_validate({"data": []}).validation_result is None
    assert FakeProvider.model_validate({"data": [], "validationResult": 1}).validation_result == 1
